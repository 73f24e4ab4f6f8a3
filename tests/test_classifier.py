"""The digit classifier reads held-out digits, and refuses weights that are not its own."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gan_helpers import classifier, mnist
from gan_helpers.classifier import DigitClassifier
from gan_helpers.randomness import Stream

SHIPPED = Path(classifier.__file__).parent / "assets" / classifier.WEIGHTS


@pytest.fixture(scope="module")
def digits() -> mnist.Mnist:
    return mnist.load(device="cpu")


@pytest.fixture(scope="module")
def shipped() -> DigitClassifier:
    return classifier.load("cpu")


# The shipped weights


def test_held_out_digits_are_read_right(shipped, digits):
    assert classifier.accuracy(shipped, digits.test) == pytest.approx(0.99, abs=0.001)  # 1,980 of 2,000
    right = shipped.predict(digits.test.images) == digits.test.labels
    assert all(right[digits.test.labels == k].float().mean() > 0.95 for k in range(10))
    binary = mnist.binarise(digits.test.images, Stream("pixels", 0))  # a chapter judges such images
    assert classifier.accuracy(shipped, mnist.Digits(binary, digits.test.labels)) > 0.97


def test_the_weights_are_small_and_fixed_and_features_of_unit_variance(shipped, digits):
    assert SHIPPED.stat().st_size <= 600_000
    assert not shipped.training
    assert {(p.requires_grad, p.dtype) for p in shipped.parameters()} == {(False, torch.float32)}
    assert shipped.features(digits.train.images).var(0).mean().item() == pytest.approx(1, abs=0.01)


# Shapes


def test_any_number_of_leading_axes_in_double_precision_and_without_gradients(shipped, digits, monkeypatch):
    images = digits.test.images[:12].double().requires_grad_()
    logits = shipped(images.float())
    monkeypatch.setattr(classifier, "CHUNK", 5)  # chunks are put together in order
    for axes in ((12,), (3, 4), (3, 2, 2)):
        stacked = images.view(*axes, 784)
        assert shipped.predict(stacked).equal(logits.argmax(1).view(axes))
        features = shipped.features(stacked)
        assert (features.dtype, features.requires_grad) == (torch.float32, False)
        assert features.shape == (*axes, classifier.FEATURES)
        torch.testing.assert_close(shipped.head(features).view(12, 10), logits)
    assert shipped.predict(images[0]).shape == ()


@pytest.mark.parametrize("shape", [(2, 28, 28), (2, 1, 28, 28)])
def test_what_are_no_rows_of_pixels_is_refused(shape, shipped):
    for method in (shipped.predict, shipped.features):
        with pytest.raises(ValueError, match=r"shape \(..., 784\), not .*: call images.flatten\(-2\)"):
            method(torch.zeros(shape))


# Loading


def test_the_default_device_is_asked_for_and_another_obeyed(monkeypatch):
    monkeypatch.setattr(classifier, "default_device", lambda: torch.device("meta"))
    assert all(p.is_meta for p in classifier.load().parameters())
    assert not any(p.is_meta for p in classifier.load("cpu").parameters())


def test_weights_are_saved_and_loaded(tmp_path, digits):
    own, images = DigitClassifier(), digits.test.images[:5]
    save_file(own.state_dict(), tmp_path / "own.safetensors")
    assert classifier.load("cpu", tmp_path / "own.safetensors").features(images).equal(own.features(images))


def test_what_is_no_whole_file_of_weights_is_refused(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was run",))

    for content in (pickle.dumps(Trap()), SHIPPED.read_bytes()[:-100]):
        (tmp_path / "trap").write_bytes(content)
        with pytest.raises(ValueError, match="trap must be a whole safetensors file"):
            classifier.load("cpu", tmp_path / "trap")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        classifier.load("cpu", tmp_path / "nowhere")


CHANGES = {
    "a missing weight": lambda w: w.popitem(),
    "one too many": lambda w: w.update(extra=torch.zeros(1)),
    "one that would broadcast": lambda w: w.update({"head.1.bias": torch.zeros(1)}),
    "NaN": lambda w: w["head.1.bias"].fill_(torch.nan),
    "whole numbers": lambda w: w.update({"head.1.bias": torch.zeros(10, dtype=torch.int8)}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_weights_are_refused(change, tmp_path):
    weights = load_file(SHIPPED)
    CHANGES[change](weights)
    save_file(weights, tmp_path / "changed")
    with pytest.raises((ValueError, TypeError), match="must hold|not finite"):
        classifier.load("cpu", tmp_path / "changed")


# Training


@pytest.fixture
def seen(monkeypatch) -> list[tuple[Tensor, Tensor]]:
    """What networks get, and their logits, while no step changes them."""
    seen, forward = [], DigitClassifier.forward

    def record(self, images):
        seen.append((images, forward(self, images)))
        return seen[-1][1]

    monkeypatch.setattr(DigitClassifier, "forward", record)
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self: None)
    return seen


def test_a_classifier_learns_and_its_seed_decides(digits):
    few, images, before = digits.train[:600], digits.test.images[:20], torch.get_rng_state()
    learned = classifier.fit(few, epochs=4, batch=50)
    assert classifier.accuracy(learned, digits.test) > 0.5
    assert not learned.training and not any(p.requires_grad for p in learned.parameters())
    one, again, other = (classifier.fit(few[:50], epochs=1, seed=k).features(images) for k in (0, 0, 1))
    assert one.equal(again) and not one.equal(other)
    assert torch.get_rng_state().equal(before), "torch's own stream is left alone"


def test_a_scale_of_the_features_changes_no_answer(digits, seen):
    few = digits.train[:100]
    scaled = classifier.fit(few, epochs=1)
    ((images, logits),) = seen
    torch.testing.assert_close(scaled(images), logits)
    assert scaled.features(few.images).var(0).mean().item() == pytest.approx(1)


def test_moves_go_as_far_to_one_side_as_to_the_other(seen):
    """A cross, thick enough for its centre and its tilt to be read off the pixels."""
    images = torch.zeros(2_001, 28, 28)  # the last stays empty, since features that never vary have no scale
    images[:-1, 4:24, 12:16] = images[:-1, 12:16, 8:20] = 1.0
    classifier.fit(mnist.Digits(images.flatten(1), torch.zeros(2_001).long()), epochs=1, batch=2_001)
    moved = seen[0][0][seen[0][0].any(1)].view(-1, 28, 28).double()
    weight, at = moved / moved.sum((1, 2), keepdim=True), torch.arange(28.0).double() - 13.5
    right, down = ((weight.sum(axis) * at).sum(1) for axis in (1, 2))
    assert moved.amin() >= 0 and moved.amax() <= 1
    for shift in (right, down):  # uniform on 2 pixels to each side, and a little more or less by the scale
        assert abs(shift.mean()) < 0.1 and abs(shift.std() - 2 / 3**0.5) < 0.1
        assert 1.7 < shift.max() < 2.7 and 1.7 < -shift.min() < 2.7
    x, y = at - right.unsqueeze(1), at - down.unsqueeze(1)
    tilt = torch.einsum("nyx,ny,nx->n", weight, y, x) / torch.einsum("nyx,ny,ny->n", weight, y, y)
    assert abs(tilt.mean()) < 0.01 and tilt.max() > 0.08 and tilt.min() < -0.08
    size = moved.sum((1, 2)) / images[0].sum()  # the square of the scale: from 0.83 to 1.23
    assert 0.79 < size.min() < 0.87 and 1.17 < size.max() < 1.28


def test_the_program_writes_weights_that_can_be_loaded(monkeypatch, tmp_path, capsys, digits):
    (tmp_path / "assets").mkdir()
    fit = classifier.fit
    monkeypatch.setattr(classifier, "files", lambda package: tmp_path)
    monkeypatch.setattr(classifier, "fit", lambda digits: fit(digits[:100], epochs=1))
    classifier.main()
    assert "of the held-out digits are read right" in capsys.readouterr().out
    classifier.load("cpu", tmp_path / "assets" / classifier.WEIGHTS)
