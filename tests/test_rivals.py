"""Plain generators: their losses against the formulas, their samples against what they were made for."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from gan_helpers import Ensemble, Stream, adam, rivals
from gan_helpers.data import Gaussian, ring
from gan_helpers.divergences import mmd2
from gan_helpers.rivals import RIVALS, fitted, learn
from tests.plain_gan import numbers

OWN = torch.tensor([0.5, 2.0])


def networks(name: str, features: int = 2, seeds: int = 2) -> list[Ensemble]:
    return RIVALS[name].networks(features, seeds, seed=4)


def batches() -> tuple[Tensor, Tensor]:
    return numbers(2, 6, 2).float(), numbers(2, 6, 2, seed=1).float()


def constant(*values: float, inputs: int = 1) -> Ensemble:
    """Networks whose outputs are always these, for one seed."""
    layer = nn.Linear(inputs, len(values))
    nn.init.zeros_(layer.weight)
    with torch.no_grad():
        layer.bias.copy_(torch.tensor(values))
    return Ensemble.of([layer], device="cpu")


def test_networks_have_the_shapes_that_they_need_and_start_apart() -> None:
    for name, shapes in {"mmd": [(2, 2)], "vae": [(2, 4), (2, 4)], "matching": [(3, 2)]}.items():
        made = networks(name)
        assert [(n.member(0)[0].in_features, n.member(0)[-1].out_features) for n in made] == shapes, name
    first, *others = (next(n.parameters()) for n in networks("flow"))
    assert len(others) == 3 and not any(torch.equal(first, other) for other in others)
    assert not RIVALS["flow"].line and all(RIVALS[name].line for name in ("mmd", "vae", "matching"))


def test_the_kernel_loss_has_a_scale_for_each_seed() -> None:
    (G,), (x, z) = networks("mmd"), batches()
    found = RIVALS["mmd"].loss([G], x, z, Stream("none"), OWN)
    for k, scale in enumerate(OWN.tolist()):
        widths = [scale * width for width in rivals.WIDTHS]
        torch.testing.assert_close(found[k], mmd2(x, G(z), widths)[k])
    assert torch.equal(rivals.pushed([G], z, Stream("none")), G(z))


def test_the_loss_of_the_autoencoder_is_minus_its_bound() -> None:
    (decoder, encoder), (x, z) = networks("vae"), batches()
    mean, log_sd = encoder(x).chunk(2, 2)
    q = Normal(mean, log_sd.exp())
    centre, spread = decoder(mean + log_sd.exp() * z).chunk(2, 2)
    bound = Normal(centre, spread.exp()).log_prob(x) - kl_divergence(q, Normal(0.0, 1.0))
    found = RIVALS["vae"].loss([decoder, encoder], x, z, Stream("none"), OWN)
    torch.testing.assert_close(found, -bound.sum(2).mean(1))


def test_a_decoder_adds_the_spread_that_it_names() -> None:
    decoder = constant(3.0, -1.0, math.log(0.5), math.log(2.0), inputs=2)
    made = RIVALS["vae"].sample([decoder], numbers(1, 40_000, 2).float(), Stream("spread", 0))[0]
    torch.testing.assert_close(made.mean(0), torch.tensor([3.0, -1.0]), atol=0.05, rtol=0)
    torch.testing.assert_close(made.std(0), torch.tensor([0.5, 2.0]), rtol=0.02, atol=0)


def test_a_velocity_is_learned_from_ways_that_are_straight() -> None:
    (v,), (x, z) = networks("matching"), batches()
    t = Stream("times", 3).uniform(2, 6, 1)
    expected = (v(torch.cat([(1 - t) * z + t * x, t], 2)) - (x - z)).square().sum(2).mean(1)
    torch.testing.assert_close(RIVALS["matching"].loss([v], x, z, Stream("times", 3), OWN), expected)


def test_euler_carries_noise_along_the_velocity_and_asks_it_at_the_right_times() -> None:
    steady = constant(2.0, -1.0, inputs=3)
    z = numbers(1, 5, 2).float()
    torch.testing.assert_close(
        RIVALS["matching"].sample([steady], z, Stream("none")), z + torch.tensor([2.0, -1.0])
    )
    asked: list[float] = []

    def clock(place_and_time: Tensor) -> Tensor:
        asked.append(place_and_time[0, 0, 2].item())
        return place_and_time[..., :2] * 0

    RIVALS["matching"].sample([clock], z, Stream("none"))  # type: ignore[list-item]
    assert asked == pytest.approx([i / rivals.EULER for i in range(rivals.EULER)])


def test_the_flow_is_a_density_and_its_samples_are_mapped_back_to_the_noise() -> None:
    chain, z = networks("flow", seeds=1), numbers(1, 3, 2).float()
    x = RIVALS["flow"].sample(chain, z, Stream("none"))

    def to_noise(point: Tensor) -> Tensor:
        kept, moved = point[None, None].chunk(2, 2)
        for network in chain:
            shift, stretch = network(kept).chunk(2, 2)
            kept, moved = (moved - shift) * (-3 * (stretch / 3).tanh()).exp(), kept
        return torch.cat([kept, moved], 2)[0, 0]

    logs = []
    for point, noise in zip(x[0], z[0], strict=True):
        torch.testing.assert_close(to_noise(point), noise, atol=1e-5, rtol=1e-4)
        jacobian = torch.autograd.functional.jacobian(to_noise, point.detach())
        log_noise = Normal(0.0, 1.0).log_prob(to_noise(point.detach())).sum()
        logs.append(log_noise + torch.linalg.slogdet(jacobian).logabsdet)
    found = RIVALS["flow"].loss(chain, x, z, Stream("none"), OWN)
    torch.testing.assert_close(found[0], -torch.stack(logs).mean(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", RIVALS)
def test_each_learns_a_shifted_gaussian(name: str) -> None:
    rival, data = RIVALS[name], Gaussian(torch.tensor([2.0, -1.0]), 0.25 * torch.eye(2))
    made, streams = networks(name), [Stream(part, 1) for part in ("data", "noise", "times")]

    def loss() -> Tensor:
        x, z = data(2, 64, streams[0]), streams[1].normal(2, 64, 2)
        return rival.loss(made, x, z, streams[2], torch.ones(2))

    averages = learn(made, loss, [adam(n, 3e-3) for n in made], steps=400)
    with torch.no_grad():
        samples = rival.sample(averages, streams[1].normal(2, 2_000, 2), Stream("spread", 1))
    assert samples.shape == (2, 2_000, 2)
    assert (samples.mean(1) - data.mean).abs().max() < 0.25
    assert (samples.std(1) - 0.5).abs().max() < 0.25


def test_what_learns_is_averaged_and_all_its_networks_move() -> None:
    made = networks("vae")
    start = [[w.detach().clone() for w in n.parameters()] for n in made]
    x, z = batches()
    averages = learn(
        made, lambda: rivals.vae_loss(made, x, z, Stream("none"), OWN), [adam(n, 1e-2) for n in made], 1
    )
    for before, now, average in zip(start, made, averages, strict=True):
        for first, newest, mean in zip(before, now.parameters(), average.parameters(), strict=True):
            assert not torch.equal(first, newest)
            torch.testing.assert_close(mean, first + (newest - first) * (1 - 2 / 11))


def test_a_member_that_is_lost_leaves_the_others_alone() -> None:
    def run(broken: bool) -> Callable[[], Tensor]:
        (G,) = networks("mmd")
        if broken:
            with torch.no_grad():
                next(G.parameters())[0] = math.nan
        x, z = batches()
        learn([G], lambda: rivals.kernel_loss([G], x, z, Stream("none"), OWN), [adam(G, 1e-2)], 4)
        return next(G.parameters())

    lost, whole = run(True), run(False)
    assert torch.equal(lost[1], whole[1]) and lost[0].isnan().any()


def test_maximum_likelihood_fits_a_gaussian_in_closed_form() -> None:
    truth = Gaussian(torch.tensor([1.0, 2.0]), torch.tensor([[1.01, 1.95], [1.95, 4.25]]))
    x = truth(2, 5_000, Stream("data", 0))
    made = fitted(x, 1, 200_000, Stream("made", 0))
    centred = x - x.mean(1, keepdim=True)
    torch.testing.assert_close(made.mean(1).float(), x.mean(1), atol=0.02, rtol=0)
    for k in range(2):
        expected = centred[k].T @ centred[k] / 5_000
        torch.testing.assert_close(made[k].T.cov().float(), expected, atol=0.03, rtol=0.02)


def test_maximum_likelihood_finds_all_of_a_ring_and_is_that_of_its_stream() -> None:
    target = ring()
    x = target(1, 1_000, Stream("data", 0))
    one, again = (fitted(x, 8, 800, Stream("made", 3)) for _ in range(2))
    assert torch.equal(one, again)
    nearest = torch.cdist(one[0], target.means.double()).min(1)
    assert (nearest.values < 0.06).all()
    shares = nearest.indices.bincount(minlength=8) / 800
    assert (shares - 1 / 8).abs().max() < 0.06
    assert nearest.values.square().mean().sqrt() == pytest.approx(0.01 * math.sqrt(2), rel=0.1)


def test_a_fit_keeps_the_shares_and_the_widths_of_its_data() -> None:
    z = numbers(1, 1_000, 2).float()
    x = torch.cat([0.1 * z[:, :900], 5 + 0.5 * z[:, 900:]], 1)  # nine of ten at 0, and narrow
    made = fitted(x, 2, 20_000, Stream("made", 1))[0]
    near = made.norm(dim=1) < 2.5
    assert near.double().mean().item() == pytest.approx(0.9, abs=0.01)
    assert made[near].std().item() == pytest.approx(0.1, rel=0.05)
    assert (made[~near] - 5).std().item() == pytest.approx(0.5, rel=0.15)
