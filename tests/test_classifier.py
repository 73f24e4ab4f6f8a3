"""The digit classifier reads held-out digits, and refuses weights that are not its own."""

from __future__ import annotations

import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from gan_helpers import classifier, mnist
from gan_helpers.classifier import DigitClassifier
from gan_helpers.randomness import Stream


@pytest.fixture(scope="module")
def digits() -> mnist.Mnist:
    return mnist.load(device="cpu")


@pytest.fixture(scope="module")
def shipped() -> DigitClassifier:
    return classifier.load("cpu")


@pytest.fixture
def path():
    with classifier.as_file(classifier.files("gan_helpers") / "assets" / classifier.WEIGHTS) as path:
        yield path


# The shipped weights


def test_held_out_digits_are_read_right(shipped, digits):
    assert classifier.accuracy(shipped, digits.test) == pytest.approx(0.99, abs=0.001)  # 1,980 of 2,000
    right = shipped.predict(digits.test.images) == digits.test.labels
    assert all(right[digits.test.labels == k].float().mean() > 0.95 for k in range(10))
    binary = mnist.binarise(digits.test.images, Stream("pixels", 0))  # a chapter judges such images
    assert classifier.accuracy(shipped, mnist.Digits(binary, digits.test.labels)) > 0.97


def test_a_constant_answer_is_right_as_often_as_its_digit_occurs(digits):
    constant = DigitClassifier()
    for weight in constant.head[-1].parameters():
        nn.init.zeros_(weight)
    constant.head[-1].bias.data[3] = 1.0
    assert classifier.accuracy(constant, digits.test) == 204 / 2_000


def test_the_weights_are_small_and_fixed_and_features_of_unit_variance(shipped, path, digits):
    assert path.stat().st_size <= 600_000
    assert not shipped.training
    assert {(p.requires_grad, p.dtype) for p in shipped.parameters()} == {(False, torch.float32)}
    assert shipped.features(digits.train.images).var(0).mean().item() == pytest.approx(1, abs=0.01)


# Shapes


def test_any_number_of_leading_axes_in_double_precision_and_without_gradients(shipped, digits):
    images = digits.test.images[:12].double().requires_grad_()
    flat, stacked = shipped.predict(images), shipped.predict(images.view(3, 4, 784))
    assert (flat.shape, flat.dtype) == ((12,), torch.int64)
    assert stacked.equal(flat.view(3, 4)) and shipped.predict(images[0]).shape == ()
    features = shipped.features(images.view(3, 2, 2, 784))
    assert (features.dtype, features.requires_grad) == (torch.float32, False)
    assert features.shape == (3, 2, 2, classifier.FEATURES)
    torch.testing.assert_close(features.view(12, -1), shipped.features(images))


def test_the_digit_is_the_largest_logit_and_comes_from_the_features(shipped, digits, monkeypatch):
    images = digits.test.images[:25]
    logits = shipped(images)
    assert logits.shape == (25, 10)
    assert shipped.predict(images).equal(logits.argmax(1))
    monkeypatch.setattr(classifier, "CHUNK", 10)  # chunks are put together in order
    torch.testing.assert_close(shipped.head(shipped.features(images)), logits)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (torch.zeros(2, 28, 28), r"shape \(..., 784\), not \(2, 28, 28\): call images.flatten\(-2\)"),
        (torch.zeros(2, 1, 28, 28), r"not \(2, 1, 28, 28\): call images.flatten\(-2\)"),
        (torch.zeros(0, 784), "empty"),
        (torch.zeros(2, 784, dtype=torch.uint8), "floating-point"),
        (torch.full((2, 784), torch.nan), "1568 values that are not finite"),
    ],
)
def test_what_is_no_image_is_refused(images, words, shipped):
    for method in (shipped.predict, shipped.features):
        with pytest.raises((TypeError, ValueError), match=words):
            method(images)


# Loading


def test_the_default_device_is_asked_for_and_another_obeyed(monkeypatch):
    monkeypatch.setattr(classifier, "default_device", lambda: torch.device("meta"))
    assert all(p.is_meta for p in classifier.load().parameters())
    assert not any(p.is_meta for p in classifier.load("cpu").parameters())


def test_weights_are_saved_and_loaded(tmp_path, digits):
    own, images = DigitClassifier(), digits.test.images[:5]
    save_file(own.state_dict(), tmp_path / "own.safetensors")
    assert classifier.load("cpu", tmp_path / "own.safetensors").features(images).equal(own.features(images))


def test_what_is_no_whole_file_of_weights_is_refused(tmp_path, path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was run",))

    for content in (pickle.dumps(Trap()), path.read_bytes()[:-100]):
        (tmp_path / "trap").write_bytes(content)
        with pytest.raises(ValueError, match="trap must be a whole safetensors file"):
            classifier.load("cpu", tmp_path / "trap")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        classifier.load("cpu", tmp_path / "nowhere")


CHANGES = {
    "a missing weight": lambda w: w.popitem(),
    "one too many": lambda w: w.update(extra=torch.zeros(1)),
    "another shape": lambda w: w.update({"head.1.bias": torch.zeros(11)}),
    "one that would broadcast": lambda w: w.update({"head.1.bias": torch.zeros(1)}),
    "NaN": lambda w: w["head.1.bias"].fill_(torch.nan),
    "whole numbers": lambda w: w.update({"head.1.bias": torch.zeros(10, dtype=torch.int8)}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_weights_are_refused(change, path, tmp_path):
    weights = load_file(path)
    CHANGES[change](weights)
    save_file(weights, tmp_path / "changed")
    with pytest.raises((ValueError, TypeError), match="must hold|not finite"):
        classifier.load("cpu", tmp_path / "changed")


# Training


def test_a_classifier_learns_and_its_seed_decides(digits):
    few, images, before = digits.train[:600], digits.test.images[:20], torch.get_rng_state()
    learned = classifier.fit(few, epochs=4, batch=50)
    assert classifier.accuracy(learned, digits.test) > 0.5
    assert not learned.training and not any(p.requires_grad for p in learned.parameters())
    one, again, other = (classifier.fit(few[:50], epochs=1, seed=k).features(images) for k in (0, 0, 1))
    assert one.equal(again) and not one.equal(other)
    assert torch.get_rng_state().equal(before), "torch's own stream is left alone"


def test_moves_go_as_far_to_one_side_as_to_the_other():
    """A cross, thick enough for its centre and its tilt to be read off the pixels."""
    cross = torch.zeros(28, 28)
    cross[4:24, 12:16], cross[12:16, 8:20] = 1.0, 1.0
    moved = classifier._moved(cross.flatten().expand(2_000, -1), Stream("moves", 0)).view(-1, 28, 28).double()
    weight, at = moved / moved.sum((1, 2), keepdim=True), torch.arange(28.0).double() - 13.5
    right, down = ((weight.sum(axis) * at).sum(1) for axis in (1, 2))
    assert moved.amin() >= 0 and moved.amax() <= 1
    for shift in (right, down):  # uniform on 2 pixels to each side, and a little more or less by the scale
        assert abs(shift.mean()) < 0.1
        assert abs(shift.std() - 2 / 3**0.5) < 0.1
        assert 1.7 < shift.max() < 2.7 and 1.7 < -shift.min() < 2.7
    x, y = at - right.unsqueeze(1), at - down.unsqueeze(1)
    tilt = torch.einsum("nyx,ny,nx->n", weight, y, x) / torch.einsum("nyx,ny,ny->n", weight, y, y)
    assert abs(tilt.mean()) < 0.01
    assert tilt.max() > 0.08 and tilt.min() < -0.08
    size = moved.sum((1, 2)) / cross.sum()  # the square of the scale: from 0.83 to 1.23
    assert 0.79 < size.min() < 0.87 and 1.17 < size.max() < 1.28


def test_a_scale_of_the_features_changes_no_answer(digits):
    network = DigitClassifier().requires_grad_(False)
    images = digits.test.images[:100]
    before = network(images)
    scaled = classifier._scaled(network, digits.train[:500])
    torch.testing.assert_close(scaled(images), before)
    assert scaled.features(digits.train.images[:500]).var(0).mean().item() == pytest.approx(1)


def test_the_program_writes_weights_that_can_be_loaded(monkeypatch, tmp_path, capsys, digits):
    (tmp_path / "assets").mkdir()
    monkeypatch.setattr(classifier, "files", lambda package: tmp_path)
    fit = classifier.fit
    monkeypatch.setattr(classifier, "fit", lambda digits: fit(digits[:100], epochs=1))
    monkeypatch.setattr(classifier.mnist, "load", lambda: digits)
    classifier.main()
    assert "of the held-out digits are read right" in capsys.readouterr().out
    assert classifier.load("cpu", tmp_path / "assets" / classifier.WEIGHTS) is not None
