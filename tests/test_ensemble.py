"""An ensemble of K is K networks of their own: the same numbers, with nothing passing between them."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from plain_gan import (
    PLAIN_LOSSES,
    Replay,
    cross_entropy,
    numbers,
    plain_adam,
    plain_networks,
    plain_penalty,
    play,
)
from torch import Tensor, nn

from gan_helpers import losses, penalties
from gan_helpers._stacking import ELEMENTWISE, STACKED
from gan_helpers.ensemble import Ensemble
from gan_helpers.models import Maxout, Standardise, mlp
from gan_helpers.randomness import Stream
from gan_helpers.training import adam, train

SEEDS = 2

LOSSES: dict[str, tuple[Callable[..., Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "minimax": (losses.minimax_d, lambda real, fake: losses.minimax_g(fake)),
    "non-saturating": (losses.minimax_d, lambda real, fake: losses.non_saturating_g(fake)),
    "least squares": (losses.least_squares_d, lambda real, fake: losses.least_squares_g(fake)),
    "wasserstein": (losses.wasserstein_d, lambda real, fake: losses.wasserstein_g(fake)),
    "hinge": (losses.hinge_d, lambda real, fake: losses.wasserstein_g(fake)),
    "relativistic": (losses.relativistic_d, losses.relativistic_g),
}
PENALTIES = ("none", "r1", "r2", "gradient penalty")


def assert_members_are(ensemble: Ensemble, members: list[nn.Module], **tolerance: float) -> None:
    """Compare every weight and buffer of every member with those of a plain network."""
    stacked = ensemble.network.state_dict()
    for k, member in enumerate(members):
        for name, value in member.state_dict().items():
            torch.testing.assert_close(
                stacked[name][k], value, **tolerance, msg=lambda m, k=k, name=name: f"member {k}, {name}: {m}"
            )


def stacked_penalty(name: str, D: Ensemble, x: Tensor, fake: Tensor, rng: Stream) -> Tensor:
    if name == "none":
        return torch.zeros(len(x), dtype=x.dtype)
    if name == "gradient penalty":
        return penalties.gradient_penalty(D, x, fake, rng)
    return {"r1": penalties.r1, "r2": penalties.r2}[name](D, x if name == "r1" else fake)


def compare_with_separate_runs(
    loss: str, penalty: str, steps: int, dtype: torch.dtype = torch.float64, **tolerance: float
) -> None:
    """Train an ensemble, and a plain pair for each member on the same data and noise; compare all weights."""
    batch, weight = 5, 0.3
    Gs = [G.to(dtype) for G in plain_networks(lambda: mlp(2, 6, 2), SEEDS)]
    Ds = [D.to(dtype) for D in plain_networks(lambda: mlp(2, 6, 6, 1), SEEDS, seed=1)]
    data = Replay(numbers(steps, SEEDS, batch, 2, seed=2, dtype=dtype) + 2)
    noise = Replay(numbers(2 * steps, SEEDS, batch, 2, seed=3, dtype=dtype))
    G, D = Ensemble.of(Gs), Ensemble.of(Ds)
    stacked_d, stacked_g = LOSSES[loss]
    rng = Stream("penalty", seed=0)

    def d_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        fake = G(z)
        real_logits, fake_logits = D(x, fake)
        return stacked_d(real_logits, fake_logits) + weight * stacked_penalty(penalty, D, x, fake, rng)

    train(
        G,
        D,
        data,
        noise,
        d_loss=d_loss,
        g_loss=lambda G, D, x, z: stacked_g(D(x), D(G(z))),
        d_opt=adam(D, 5e-3, betas=(0.5, 0.9)),
        g_opt=adam(G, 5e-3, betas=(0.5, 0.9)),
        steps=steps,
        batch=batch,
        progress=False,
    )

    plain_d, plain_g = PLAIN_LOSSES[loss]
    for k in range(SEEDS):
        places = Stream("penalty", seed=0)

        def plain_d_loss(
            G: nn.Module, D: nn.Module, x: Tensor, z: Tensor, k: int = k, places: Stream = places
        ) -> Tensor:
            fake = G(z).detach()
            u = places.uniform(SEEDS, batch, 1)[k].to(dtype)
            return plain_d(D(x), D(fake)) + weight * plain_penalty(penalty, D, x, fake, u)

        def plain_g_loss(G: nn.Module, D: nn.Module, x: Tensor, z: Tensor) -> Tensor:
            return plain_g(D(x), D(G(z)))

        play(Gs[k], Ds[k], data.of(k), noise.of(k), plain_d_loss, plain_g_loss, steps=steps)
    assert_members_are(G, Gs, **tolerance)
    assert_members_are(D, Ds, **tolerance)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("loss", LOSSES)
def test_an_ensemble_trains_exactly_as_separate_networks(loss: str, penalty: str) -> None:
    compare_with_separate_runs(loss, penalty, steps=100, rtol=0, atol=1e-9)


def test_an_ensemble_trains_as_separate_networks_in_single_precision_too() -> None:
    compare_with_separate_runs("non-saturating", "r1", steps=100, dtype=torch.float32, rtol=0, atol=1e-4)


# --- One layer after the other ---------------------------------------------------------------------------


def stride_2(channels_in: int, channels_out: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1)


LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(4, 5), (4,)),
    "embedding": (lambda: nn.Embedding(4, 5), ()),
    "linear without bias": (lambda: nn.Linear(4, 5, bias=False), (4,)),
    "linear of one feature": (lambda: nn.Linear(1, 5), (1,)),
    "linear of one feature without bias": (lambda: nn.Linear(1, 5, bias=False), (1,)),
    "square linear": (lambda: nn.Linear(4, 4), (4,)),
    "square linear without bias": (lambda: nn.Linear(4, 4, bias=False), (4,)),
    "mlp": (lambda: mlp(4, 6, 6, 2), (4,)),
    "maxout": (lambda: Maxout(4, 3, pieces=5), (4,)),
    "standardise": (lambda: nn.Sequential(Standardise(3.0, 2.0), nn.Linear(4, 4)), (4,)),
    "batch norm": (lambda: nn.BatchNorm1d(4), (4,)),
    "batch norm of sequences": (lambda: nn.BatchNorm1d(4), (4, 3)),
    "batch norm without weights": (lambda: nn.BatchNorm1d(4, affine=False), (4,)),
    "batch norm that keeps no statistics": (lambda: nn.BatchNorm1d(4, track_running_stats=False), (4,)),
    "batch norm of images": (lambda: nn.BatchNorm2d(4, momentum=0.3, eps=0.01), (4, 3, 3)),
    "convolution": (lambda: stride_2(2, 4), (2, 6, 6)),
    "convolution without bias": (lambda: nn.Conv2d(2, 4, 3, bias=False), (2, 6, 6)),
    "grouped convolution": (lambda: nn.Conv2d(4, 6, 3, groups=2, dilation=2), (4, 6, 6)),
    "convolution that keeps the size": (lambda: nn.Conv2d(2, 2, 3, padding="same"), (2, 4, 4)),
    "transposed convolution": (lambda: nn.ConvTranspose2d(2, 3, 3, 2, 1, output_padding=1), (2, 3, 3)),
    "grouped transposed convolution": (lambda: nn.ConvTranspose2d(4, 6, 3, groups=2), (4, 3, 3)),
    "flatten": (lambda: nn.Flatten(), (2, 3, 3)),
    "flatten the end": (lambda: nn.Flatten(-2), (2, 3, 3)),
    "unflatten": (lambda: nn.Sequential(nn.Linear(4, 12), nn.Unflatten(1, (3, 2, 2))), (4,)),
    "unflatten the end": (lambda: nn.Unflatten(-1, (2, 2)), (4,)),
    "convolutional network": (
        lambda: nn.Sequential(
            nn.Linear(4, 2 * 3 * 3), nn.Unflatten(1, (2, 3, 3)), nn.BatchNorm2d(2), nn.ReLU(),
            nn.ConvTranspose2d(2, 3, 4, 2, 1), nn.LeakyReLU(0.2), stride_2(3, 2), nn.Flatten(),
            nn.Linear(18, 1),
        ),
        (4,),
    ),
    **{kind.__name__: (lambda kind=kind: nn.Sequential(nn.Linear(4, 4), kind()), (4,))
       for kind in ELEMENTWISE},
}  # fmt: skip


@pytest.mark.parametrize("layer", LAYERS)
def test_a_stacked_layer_does_to_each_seed_what_the_plain_layer_does(layer: str) -> None:
    make, shape = LAYERS[layer]
    members = plain_networks(make, 3)
    ensemble = Ensemble.of(members)
    x = numbers(3, 3, *shape)  # as many seeds as samples: to swap these axes would go unnoticed by shapes
    for training in (True, True, False):  # twice, so that running statistics are moved twice
        ensemble.train(training)
        stacked_x = x.clone().requires_grad_()
        out = ensemble(stacked_x)
        for k, member in enumerate(members):
            member.train(training)
            plain_x = x[k].clone().requires_grad_()
            plain_out = member(plain_x)
            torch.testing.assert_close(out[k], plain_out)
            (plain_gradient,) = torch.autograd.grad(plain_out.square().sum(), plain_x)
            (gradient,) = torch.autograd.grad(out.square().sum(), stacked_x, retain_graph=True)
            torch.testing.assert_close(gradient[k], plain_gradient)
    assert_members_are(ensemble, members)


def test_every_layer_that_has_a_stacked_form_is_tested() -> None:
    tested = {type(part) for make, _ in LAYERS.values() for part in make().modules()}
    assert {*STACKED, *ELEMENTWISE, nn.Flatten, nn.Unflatten} <= tested


@pytest.mark.parametrize("layer", ["linear", "maxout", "batch norm", "batch norm of images",
                                   "grouped convolution", "grouped transposed convolution"])  # fmt: skip
def test_what_goes_wrong_in_one_member_stays_there(layer: str) -> None:
    make, shape = LAYERS[layer]
    ensembles = [Ensemble.of(plain_networks(make, 3)) for _ in range(2)]
    clean = numbers(3, 4, *shape)
    spoilt = clean.clone()
    spoilt[1] = torch.nan
    for ensemble, x in zip(ensembles, (clean, spoilt), strict=True):
        optimiser = adam(ensemble, 0.01)
        for _ in range(3):
            optimiser.zero_grad()
            losses.minimax_d(ensemble(x), ensemble(-x)).sum().backward()
            optimiser.step()
    for name, value in ensembles[0].state_dict().items():
        other = ensembles[1].state_dict()[name]
        assert torch.equal(value[[0, 2]], other[[0, 2]]), name
        assert "num_batches" in name or other[1].isnan().all(), name


def test_batch_norm_networks_train_as_separate_ones_running_statistics_included() -> None:
    steps, seeds = 20, 3

    def make_g() -> nn.Module:
        return nn.Sequential(
            nn.BatchNorm1d(2), nn.Linear(2, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2)
        )

    def make_d() -> nn.Module:
        return nn.Sequential(Maxout(2, 4, 3), nn.Linear(4, 1))

    Gs, Ds = plain_networks(make_g, seeds), plain_networks(make_d, seeds, seed=1)
    G, D = Ensemble.of(Gs), Ensemble.of(Ds)
    data, noise = Replay(numbers(steps, seeds, 6, 2)), Replay(numbers(2 * steps, seeds, 6, 2, seed=1))
    train(
        G,
        D,
        data,
        noise,
        d_loss=lambda G, D, x, z: losses.minimax_d(D(x), D(G(z).detach())),
        g_loss=lambda G, D, x, z: losses.non_saturating_g(D(G(z))),
        d_opt=adam(D, 5e-3, betas=(0.5, 0.9)),
        g_opt=adam(G, 5e-3, betas=(0.5, 0.9)),
        steps=steps,
        batch=6,
    )
    for k in range(seeds):
        play(
            Gs[k],
            Ds[k],
            data.of(k),
            noise.of(k),
            lambda G, D, x, z: cross_entropy(D(x), 1) + cross_entropy(D(G(z)), 0),
            lambda G, D, x, z: cross_entropy(D(G(z)), 1),
            steps=steps,
        )
    assert_members_are(G, Gs, rtol=0, atol=1e-9)
    assert_members_are(D, Ds, rtol=0, atol=1e-9)
    z = numbers(seeds, 6, 2, seed=9)
    for k, plain in enumerate(Gs):
        torch.testing.assert_close(G.eval()(z)[k], plain.eval()(z[k]))


# --- Dropout ---------------------------------------------------------------------------------------------


def test_dropout_networks_train_as_separate_ones_with_the_same_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    members = plain_networks(lambda: nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.4), nn.Linear(8, 1)), SEEDS)
    ensemble, x = Ensemble.of(members), numbers(SEEDS, 5, 3)
    masks: list[Tensor] = []
    draw = Stream.keep

    def recorded(stream: Stream, probability: float, like: Tensor) -> Tensor:
        mask = draw(stream, probability, like)
        masks.append(mask.clone())  # the layer may go on to change the mask itself
        return mask

    monkeypatch.setattr(Stream, "keep", recorded)
    optimiser = adam(ensemble, 5e-3, betas=(0.5, 0.9))
    for _ in range(100):
        optimiser.zero_grad()
        losses.non_saturating_g(ensemble(x)).sum().backward()
        optimiser.step()
    for k, member in enumerate(members):
        mine = iter(masks)
        monkeypatch.setattr(F, "dropout", lambda h, p, *_, k=k, mine=mine: h * next(mine)[k] / (1 - p))
        optimiser = plain_adam(member)
        for _ in range(100):
            optimiser.zero_grad()
            cross_entropy(member(x[k]), 1).backward()
            optimiser.step()
    assert len(masks) == 100
    assert_members_are(ensemble, members, rtol=0, atol=1e-9)


def dropout(p: float, seeds: int = 4, **options: int) -> Ensemble:
    return Ensemble(lambda: nn.Dropout(p), seeds, device="cpu", seed=0, **options)


def test_dropout_drops_the_share_asked_for_and_scales_up_what_is_left() -> None:
    out = dropout(0.3)(torch.ones(4, 1000, 5))
    assert out.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    assert (out == 0).double().mean((1, 2)).tolist() == pytest.approx([0.3] * 4, abs=0.03)


def test_members_draw_masks_of_their_own_and_new_ones_at_each_call() -> None:
    ensemble, x = dropout(0.5), torch.ones(4, 50, 2)
    first, second = ensemble(x), ensemble(x)
    assert len({str(mask.tolist()) for mask in (*first, *second)}) == 8


def test_dropout_is_off_in_evaluation_and_at_the_ends_of_its_range() -> None:
    x = numbers(4, 5, 2)
    assert torch.equal(dropout(0.5).eval()(x), x)
    assert torch.equal(dropout(0.0)(x), x)
    assert torch.equal(dropout(1.0)(x), torch.zeros_like(x))


# --- Starting numbers ------------------------------------------------------------------------------------


def test_a_member_starts_alike_in_ensembles_of_any_size() -> None:
    def make() -> nn.Module:
        return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), Maxout(4, 2, 2))

    large, small = (Ensemble(make, seeds, name="G", seed=5, device="cpu") for seeds in (4, 2))
    for name, value in small.state_dict().items():
        assert torch.equal(value, large.state_dict()[name][:2]), name


def test_members_names_and_seeds_all_start_differently() -> None:
    weights = [
        weight
        for name, seed in (("G", 0), ("D", 0), ("G", 1))
        for weight in Ensemble(lambda: nn.Linear(2, 2), 3, name=name, seed=seed, device="cpu").network.weight
    ]
    assert len({str(weight.tolist()) for weight in weights}) == 9


def test_a_member_is_initialised_as_torch_initialises_it() -> None:
    ensemble = Ensemble(lambda: nn.Linear(25, 400), 2, seed=0, device="cpu")
    bound = 1 / 25**0.5
    assert bound * 0.99 < ensemble.network.weight.abs().max() < bound
    assert abs(ensemble.network.weight.std().item() - bound / 3**0.5) < 0.02 * bound


def test_weights_do_not_depend_on_the_device_that_torch_makes_tensors_on() -> None:
    plain = Ensemble(lambda: nn.Linear(2, 2), 2, seed=0, device="cpu")
    with torch.device("meta"):
        elsewhere = Ensemble(lambda: nn.Linear(2, 2), 2, seed=0, device="cpu")
    assert torch.equal(plain.network.weight, elsewhere.network.weight)


def test_the_random_numbers_of_torch_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("accelerators were reseeded"))
    before = torch.get_rng_state()
    ensemble = Ensemble(lambda: nn.Sequential(nn.Linear(2, 2), nn.Dropout()), 3, device="cpu")
    ensemble(torch.ones(3, 4, 2))
    ensemble.copy().member(1)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_random_numbers_of_torch_do_not_matter() -> None:
    def one(seed: int) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            network = Ensemble(lambda: nn.Sequential(nn.Linear(2, 9), nn.Dropout()), 2, seed=3, device="cpu")
            return network(torch.ones(2, 4, 2))

    assert torch.equal(one(1), one(2))


def test_weights_keep_their_names_and_get_a_leading_axis() -> None:
    plain = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    stacked = Ensemble(lambda: copy.deepcopy(plain), 4, device="cpu").network.state_dict()
    assert {name: value.shape for name, value in stacked.items()} == {
        name: (4, *value.shape) for name, value in plain.state_dict().items()
    }


# --- Calls, members and copies ---------------------------------------------------------------------------


def test_one_network_is_an_ensemble_of_one() -> None:
    (plain,) = plain_networks(lambda: mlp(2, 5, 1), 1)
    x = numbers(1, 7, 2)
    out = Ensemble.of([plain])(x)
    assert out.shape == (1, 7, 1)
    torch.testing.assert_close(out[0], plain(x[0]))


def test_several_inputs_go_through_in_one_pass_and_come_back_apart() -> None:
    ensemble = Ensemble(lambda: mlp(2, 5, 3), 4, device="cpu").double()
    x, y, z = (numbers(4, batch, 2, seed=batch) for batch in (1, 3, 6))
    outs = ensemble(x, y, z)
    assert isinstance(outs, tuple)
    for one, out in zip((x, y, z), outs, strict=True):
        torch.testing.assert_close(out, ensemble(one))


def test_a_member_taken_out_is_a_plain_network_with_the_same_answers() -> None:
    def make() -> nn.Module:
        return nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.ELU(), nn.Linear(4, 1))

    ensemble = Ensemble(make, 3, device="cpu")
    ensemble(torch.randn(3, 8, 2, generator=torch.Generator().manual_seed(0)))  # moves the statistics
    ensemble.eval()
    x = numbers(5, 2, dtype=torch.float32)
    for k in range(3):
        member = ensemble.member(k)
        assert type(member) is nn.Sequential and type(member[0]) is nn.Linear and not member.training
        torch.testing.assert_close(member(x), ensemble(x.expand(3, 5, 2))[k])


def test_a_member_taken_out_keeps_its_precision() -> None:
    members = plain_networks(lambda: nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)), 2)
    x = numbers(4, 2)
    for k, member in enumerate(members):
        taken = Ensemble.of(members).member(k)
        assert all(p.requires_grad for p in taken.parameters())
        assert torch.equal(taken(x), member(x))
    single = Ensemble(lambda: nn.Linear(2, 3), 2, device="cpu")
    assert single.member(0).weight.dtype == torch.float32
    assert single.double().member(0).weight.dtype == torch.float64


def test_a_member_taken_out_is_a_copy() -> None:
    ensemble = Ensemble(lambda: nn.Linear(2, 2), 2, device="cpu")
    before = ensemble.network.weight.detach().clone()
    nn.init.zeros_(ensemble.member(0).weight)
    assert torch.equal(ensemble.network.weight, before)
    assert not torch.equal(ensemble.member(0).weight, torch.zeros(2, 2))


def test_an_ensemble_of_networks_copies_them_and_gives_them_back() -> None:
    members = plain_networks(lambda: mlp(2, 3, 1), 3)
    ensemble = Ensemble.of(members)
    assert_members_are(ensemble, members, rtol=0, atol=0)
    before = [copy.deepcopy(member.state_dict()) for member in members]
    nn.init.zeros_(ensemble.network[0].weight)
    for member, values in zip(members, before, strict=True):
        assert all(torch.equal(value, values[name]) for name, value in member.state_dict().items())


@pytest.mark.parametrize("training", [True, False])
def test_an_ensemble_of_networks_is_in_the_mode_that_they_are_in(training: bool) -> None:
    members = [nn.Sequential(nn.BatchNorm1d(2), nn.Dropout()).train(training) for _ in range(2)]
    ensemble = Ensemble.of(members)
    assert {part.training for part in ensemble.modules()} == {training}
    assert ensemble.member(0).training is training


def test_a_copy_shares_nothing_and_is_not_trained() -> None:
    members = [nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Dropout()) for _ in range(2)]
    ensemble = Ensemble.of(members)
    twin = ensemble.copy()
    assert not any(p.requires_grad for p in twin.parameters())
    assert all(p.requires_grad for p in ensemble.parameters())
    x = torch.ones(2, 40, 2)
    first = twin(x)  # draws masks and moves statistics, of the twin alone
    assert ensemble.network[1].num_batches_tracked.tolist() == [0, 0]
    assert torch.equal(ensemble(x), first)
    nn.init.zeros_(ensemble.network[0].weight)
    assert twin.network[0].weight.abs().sum() > 0


def test_frozen_weights_stay_frozen() -> None:
    member = nn.Sequential(nn.Linear(2, 2).requires_grad_(False), nn.Linear(2, 1))
    ensemble = Ensemble(lambda: copy.deepcopy(member), 2, device="cpu")
    assert [p.requires_grad for p in ensemble.parameters()] == [False, False, True, True]


# --- Members of one's own --------------------------------------------------------------------------------


class Residual(nn.Module):
    """A module of one's own, with children, an absent child and axes counted from the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.ModuleList([nn.Linear(3, 3), nn.Tanh()])
        self.absent = None
        self.register_module("absent_too", None)

    def forward(self, x: Tensor) -> Tensor:
        h = x
        for part in self.inner:
            h = part(h)
        return x + h - x.mean(-1, keepdim=True)


def test_modules_of_ones_own_are_stacked_child_by_child() -> None:
    members = plain_networks(lambda: nn.Sequential(Residual(), nn.Linear(3, 1)), 3)
    x = numbers(3, 3, 3)
    out = Ensemble.of(members)(x)
    for k, member in enumerate(members):
        torch.testing.assert_close(out[k], member(x[k]))


def test_a_layer_used_twice_stays_one_layer_in_every_member() -> None:
    def make() -> nn.Module:
        layer, drop = nn.Linear(2, 2), nn.Dropout(0.5)
        return nn.Sequential(layer, drop, nn.Tanh(), layer, drop)

    members = [member.eval() for member in plain_networks(make, 3)]
    ensemble = Ensemble.of(members)
    x = numbers(3, 4, 2)
    for k, member in enumerate(members):
        torch.testing.assert_close(ensemble(x)[k], member(x[k]))
    assert [tuple(p.shape) for p in ensemble.parameters()] == [(3, 2, 2), (3, 2)]
    assert ensemble.network[0] is ensemble.network[3]
    before = torch.get_rng_state()
    ensemble.train()(x)
    assert torch.equal(torch.get_rng_state(), before)


class Doubled(nn.Linear):
    """Computes something else than its base: to treat it as one would be wrong without a word."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class WithBuffer(nn.Module):
    """Holds numbers that no seed axis could be given to."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.ones(2))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.shift


def tied() -> nn.Module:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    network[1].weight = network[0].weight
    return network


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (lambda: nn.Sequential(nn.GRU(2, 2)), "GRU has no stacked form: build members of Linear"),
        (lambda: nn.LayerNorm(2), "LayerNorm has no stacked form"),
        (lambda: nn.Softmax(dim=1), "Softmax has no stacked form"),
        (lambda: nn.Dropout2d(), "Dropout2d has no stacked form"),
        (lambda: Doubled(2, 2), "Doubled has no stacked form"),
        (WithBuffer, "WithBuffer has no stacked form"),
        (lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(2, 2)), "has no stacked form"),
        (tied, "A weight that two layers share has no stacked form"),
        (lambda: nn.BatchNorm1d(2, momentum=None), "BatchNorm with momentum=None has no stacked form"),
        (lambda: nn.Conv2d(1, 1, 3, padding_mode="circular"), "padding_mode='circular' has no stacked form"),
        (lambda: torch.ones(2), "member must return a torch.nn.Module, not Tensor"),
    ],
)
def test_what_cannot_be_stacked_is_named(member: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Ensemble(member, 2, device="cpu")


def test_a_member_function_that_returns_one_network_again_and_again_is_an_error() -> None:
    network = mlp(1, 2, 1)
    with pytest.raises(ValueError, match="member must make a new network at each call"):
        Ensemble(lambda: network, 2, device="cpu")


# --- Wrong arguments -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seeds", "error"), [(0, ValueError), (-1, ValueError), (2.0, TypeError), (True, TypeError)]
)
def test_the_number_of_seeds_is_a_whole_number_of_at_least_one(seeds: int, error: type[Exception]) -> None:
    with pytest.raises(error, match="seeds must be"):
        Ensemble(lambda: mlp(1, 1), seeds, device="cpu")


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        ([torch.ones(3, 2)], ValueError, r"inputs\[0\] must have shape .* with seeds = 3, not \(3, 2\)"),
        ([torch.ones(5, 3, 2)], ValueError, r"seeds = 3, not \(5, 3, 2\)"),
        ([torch.ones(3, 1, 2), torch.ones(1, 1, 2)], ValueError, r"inputs\[1\] must have shape"),
        ([torch.ones(3, 0, 2)], ValueError, r"inputs\[0\] is empty"),
        ([torch.ones(3, 1, 2, dtype=torch.long)], TypeError, r"call inputs\[0\]\.float\(\) first"),
        ([[[1.0, 2.0]]], TypeError, r"inputs\[0\] must be a torch.Tensor"),
        ([], ValueError, "at least one input"),
    ],
)
def test_wrong_inputs_are_told_apart(inputs: list[Tensor], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Ensemble(lambda: mlp(2, 1), 3, device="cpu")(*inputs)


@pytest.mark.parametrize(("k", "error"), [(3, ValueError), (-1, ValueError), (1.0, TypeError)])
def test_only_members_that_exist_can_be_taken_out(k: int, error: type[Exception]) -> None:
    with pytest.raises(error, match="k must be"):
        Ensemble(lambda: mlp(2, 1), 3, device="cpu").member(k)


def test_members_of_different_architecture_cannot_be_stacked() -> None:
    with pytest.raises(ValueError, match="members differ in architecture"):
        Ensemble.of([mlp(2, 3, 1), mlp(2, 4, 1)])
    with pytest.raises(ValueError, match="members is empty"):
        Ensemble.of([])


def test_the_printed_form_tells_the_number_of_members() -> None:
    assert "seeds=3" in repr(Ensemble(lambda: mlp(2, 1), 3, device="cpu"))
