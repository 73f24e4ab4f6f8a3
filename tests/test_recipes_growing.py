"""Images grow from size to size without a jump, and what grows gets as much arithmetic as what does not."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from gan_helpers import Ensemble, Watch, adam, mnist
from gan_helpers.randomness import Stream
from gan_helpers.recipes import Recipe, convolutions, growing
from gan_helpers.recipes.growing import FULL, Discriminator, Generator, Growth

IMAGES = mnist.load(device="cpu").train.images[:200]


def test_they_stay_and_grow_in_turn() -> None:
    phases = (4, 2, 4, 5, 1)
    sizes = [growing.size_after(t, phases) for t in range(17)]
    assert sizes == pytest.approx([0, 0, 0, 0, 0, 0.5, 1, 1, 1, 1, 1, 1.2, 1.4, 1.6, 1.8, 2, 2])


@pytest.mark.parametrize("level", range(FULL + 1))
def test_fakes_and_what_d_sees_are_as_coarse_as_the_size_says(level: int) -> None:
    growth = Growth(level)
    block = 2 ** (FULL - level)
    x = Generator(growth)(Stream("z", 1, "cpu").normal(3, 100)).unflatten(-1, (28, 28))
    assert torch.equal(x, x[:, ::block, ::block].repeat_interleave(block, 1).repeat_interleave(block, 2))
    assert x[:, :block, : 2 * block].std() > 0 and x.shape == (3, 28, 28) and x.abs().max() < 1
    D, x = Discriminator(growth), Stream("x", 1, "cpu").uniform(3, 784)
    means = growing.enlarged(growing.reduced(x.unflatten(-1, (28, 28)), FULL - level), FULL - level)
    torch.testing.assert_close(D(means.flatten(1)), D(x))
    if level < FULL:
        assert (D(x.roll(1, 1)) - D(x)).abs().min() > 0


@pytest.mark.parametrize("level", range(FULL))
def test_growth_has_no_jump(level: int) -> None:
    growth = Growth()
    G, D = Generator(growth).eval(), Discriminator(growth)
    for network, inputs in ((G, 100), (D, 784)):
        x, seen = Stream("x", 1, "cpu").uniform(3, inputs), []
        for size in (level, level + 1e-5, level + 0.5, level + 1 - 1e-5, level + 1.0):
            growth.size = size
            seen.append(network(x))
        for start, near, middle in ((0, 1, 2), (4, 3, 2)):
            torch.testing.assert_close(seen[start], seen[near], atol=1e-4, rtol=1e-3)
            change, jump = ((seen[start] - seen[k]).abs().max() for k in (middle, near))
            assert change > 100 * jump and change > 0


def test_means_over_blocks_undo_what_enlarges() -> None:
    x = torch.arange(16.0).view(1, 4, 4)
    assert growing.reduced(x).tolist() == [[[2.5, 4.5], [10.5, 12.5]]]
    assert growing.reduced(x, 2).tolist() == [[[7.5]]]
    assert torch.equal(growing.reduced(growing.enlarged(x, 2), 2), x)


def test_all_get_as_many_multiplications() -> None:
    costs, phases = growing.costs(), growing.equal_phases(500)
    assert costs == [161_504, 970_592, 967_456, 1_782_816, 1_776_544]
    shares = [cost * steps / (500 * costs[-1]) for cost, steps in zip(costs, phases, strict=True)]
    assert shares == pytest.approx([0.2] * 5, rel=0.01)
    usual = growing.usual(IMAGES, 500)
    each = sum(
        convolutions.multiplications(network, features)
        for network, features in ((usual.G(), 100), (usual.D(), 784))
    )
    assert usual.steps * each == pytest.approx(500 * costs[-1], rel=0.01)
    assert (growing.changed(IMAGES).steps, growing.changed(IMAGES, grows=False).steps) == (sum(phases), 500)


class Multiplications(TorchDispatchMode):
    """Counts those of matrices and convolutions, of gradients too."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count, and compute."""
        out = func(*args, **(kwargs or {}))
        if count := flop_registry.get(func._overloadpacket):
            self.count += count(*args, **(kwargs or {}), out_val=out) // 2
        return out


def whole_step(recipe: Recipe) -> int:
    """Return how often a step multiplies, with all gradients."""
    G, D = recipe.networks(1, seed=1, device="cpu")
    x, z = Stream("x", 1, "cpu").uniform(1, 8, 784), Stream("z", 1, "cpu").normal(1, 8, 100)
    with Multiplications() as counted:
        for network, loss in ((D, recipe.d_loss), (G, recipe.g_loss)):
            weights = list(network.parameters())
            torch.autograd.grad(loss(G, D, x, z).sum(), weights, allow_unused=True)
    return counted.count


def test_over_whole_steps_what_grows_multiplies_less() -> None:
    growth, taken = Growth(), 0
    grown = convolutions.repaired(IMAGES, G=partial(Generator, growth), D=partial(Discriminator, growth))
    for phase, steps in enumerate(growing.equal_phases(500)):
        growth.size = phase / 2
        taken += steps * (each := whole_step(grown))
    usual = growing.usual(IMAGES, 500)
    assert taken / (500 * each) == pytest.approx(1 - 1 / 7, abs=0.01)
    assert taken / (usual.steps * whole_step(usual)) == pytest.approx(1 - 1 / 10, abs=0.01)


@pytest.mark.parametrize("size", [0, 0.3, 1.7, FULL])
def test_stacked_members_compute_what_each_does_alone(size: float) -> None:
    growth = Growth(size)
    for make, features in ((Generator, 100), (Discriminator, 784)):
        network = Ensemble(lambda make=make: make(growth), 3, seed=1, device="cpu")
        x = Stream("x", 1, "cpu").uniform(3, 5, features)
        alone = torch.stack([network.member(k).train()(x[k]) for k in range(3)])
        torch.testing.assert_close(network(x), alone)


def test_a_run_grows_with_its_average_and_only_what_is_there_learns() -> None:
    recipe = growing.changed(IMAGES, steps=3)
    phases = growing.equal_phases(3)
    G, D = recipe.networks(1, seed=1, device="cpu")
    before = {name: w.detach().clone() for name, w in G.named_parameters()}
    recipe.train(G, D, seed=1, steps=2)
    moved = {name for name, w in G.named_parameters() if not torch.equal(w, before[name])}
    assert moved == {name for name in before if ".sizes.0." in f".{name}" or ".grey.0." in f".{name}"}
    G, D = recipe.networks(1, seed=1, device="cpu")

    def look(average: Ensemble) -> dict[str, torch.Tensor]:
        image = average(torch.ones(1, 2, 100)).unflatten(-1, (28, 28))
        return {"fine": (image[:, :, ::2, ::2] != image[:, :, 1::2, ::2]).any().view(1)}

    history = recipe.train(G, D, seed=1, watch=Watch(look, 1), ema=0.9)
    assert history.averaged is not None
    assert history.watched["fine"][:, 0].tolist() == [t > sum(phases[:3]) for t in range(recipe.steps + 1)]


def test_a_run_that_is_taken_up_again_is_as_large_as_it_was() -> None:
    one, other = Growth(), Growth()
    optimisers = []
    for growth in (one, other):
        network = Ensemble(lambda growth=growth: Generator(growth), 1, seed=1, device="cpu")
        optimisers.append(growing.growing(adam(network, 1e-3), growth, (2, 4, 2, 2, 2)))
    for w in optimisers[0].param_groups[0]["params"]:
        w.grad = torch.zeros_like(w)
    assert one.size == 0
    for _ in range(5):
        optimisers[0].step()
    optimisers[1].load_state_dict(optimisers[0].state_dict())
    assert one.size == other.size == 0.75


def test_a_table_has_all_variants_from_the_same_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    digits = mnist.load(device="cpu")
    monkeypatch.setattr(growing, "inputs", lambda seeds: (IMAGES,))
    monkeypatch.setattr(convolutions, "JUDGED", 200)
    monkeypatch.setattr(mnist, "load", lambda: mnist.Mnist(digits.train[:200], digits.test[:200]))
    found = growing.compared(1, 1, 5)
    for name, make in growing.VARIANTS.items():
        recipe = make(IMAGES, steps=1)
        G, D = recipe.networks(1, seed=5)
        recipe.train(G, D, seed=5)
        for key, value in convolutions.judged(G, 5).items():
            torch.testing.assert_close(found[f"{key}_{name}"], value)
