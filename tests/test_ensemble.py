"""An ensemble of K is K networks of their own: the same numbers, with nothing passing between them."""

from __future__ import annotations

import copy
import functools
import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune, spectral_norm
from torch.nn.utils.parametrizations import spectral_norm as spectral

from gan_helpers import losses, penalties
from gan_helpers._stacking import ELEMENTWISE, KNOWN, STACKED, _Convolution
from gan_helpers.ensemble import Ensemble
from gan_helpers.models import Maxout, MinibatchDiscrimination, Standardise, mlp
from gan_helpers.randomness import Stream
from gan_helpers.states import Weights
from gan_helpers.training import adam, train
from tests.plain_gan import PLAIN_LOSSES, Replay, numbers, plain_networks, play, squared_slope_of_each

SEEDS = 3
Make = Callable[[], nn.Module]


def assert_members_are(ensemble: Ensemble, members: list[nn.Module], **tolerance: float) -> None:
    """Compare every weight and buffer of every member with those of a plain network."""
    stacked = dict(ensemble.network.named_parameters()) | dict(ensemble.network.named_buffers())
    for k, member in enumerate(members):
        for name, value in (*member.named_parameters(), *member.named_buffers()):
            torch.testing.assert_close(
                stacked[name][k], value, **tolerance, msg=lambda m, k=k, name=name: f"member {k}, {name}: {m}"
            )


def normalised() -> nn.Module:
    return nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2))


def judge() -> nn.Module:
    return nn.Sequential(Maxout(2, 6, 2), mlp(6, 6, 1))


def through_images(features: int) -> nn.Module:
    """Return a network of two numbers, with the layers of generators and critics of images."""
    return nn.Sequential(
        spectral(nn.Linear(2, 16)), nn.LayerNorm(16), nn.Unflatten(1, (4, 2, 2)), nn.Upsample(scale_factor=2),
        spectral(nn.ConvTranspose2d(4, 8, 3, padding=1)), nn.GroupNorm(2, 8), nn.SiLU(), nn.PixelShuffle(2),
        nn.AvgPool2d(2), spectral(nn.Conv2d(2, 8, 3)), nn.SiLU(), nn.MaxPool2d(2, stride=1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, features),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("make_g", "make_d", "stacked", "dtype", "atol"),
    [
        (lambda: mlp(2, 6, 2), judge, True, torch.float64, 1e-9),
        (lambda: mlp(2, 6, 2), judge, True, torch.float32, 1e-4),
        (normalised, judge, True, torch.float64, 1e-9),
        (normalised, judge, False, torch.float64, 1e-9),
        (lambda: through_images(2), lambda: through_images(1), True, torch.float64, 1e-9),
    ],
)
def test_an_ensemble_trains_exactly_as_separate_networks(
    make_g: Make, make_d: Make, stacked: bool, dtype: torch.dtype, atol: float
) -> None:
    at_once = make_d is judge  # else each call is a step of power iteration
    batch, weight, steps = 5, 0.3, 50 if at_once else 20
    Gs = [G.to(dtype) for G in plain_networks(make_g, SEEDS)]
    Ds = [D.to(dtype) for D in plain_networks(make_d, SEEDS)]
    data = Replay(numbers(steps, SEEDS, batch, 2, seed=2, dtype=dtype) + 2)
    noise = Replay(numbers(2 * steps, SEEDS, batch, 2, seed=3, dtype=dtype))
    G, D = (Ensemble.of(networks, stacked=stacked) for networks in (Gs, Ds))
    train(
        G, D, data, noise, steps=steps, batch=batch, progress=False,
        d_loss=lambda G, D, x, z: losses.minimax_d(*D(x, G(z)) if at_once else map(D, (x, G(z))))
        + weight * penalties.r1(D, x),
        g_loss=lambda G, D, x, z: losses.non_saturating_g(D(G(z))),
        d_opt=adam(D, 5e-3, betas=(0.5, 0.9)), g_opt=adam(G, 5e-3, betas=(0.5, 0.9)),
    )  # fmt: skip
    plain_d, plain_g = PLAIN_LOSSES["non-saturating"]

    def plain_d_loss(G: nn.Module, D: nn.Module, x: Tensor, z: Tensor) -> Tensor:
        return plain_d(D(x), D(G(z).detach())) + weight * squared_slope_of_each(D, x).mean()

    def plain_g_loss(G: nn.Module, D: nn.Module, x: Tensor, z: Tensor) -> Tensor:
        return plain_g(None, D(G(z)))

    for k in range(SEEDS):
        play(Gs[k], Ds[k], data.of(k), noise.of(k), plain_d_loss, plain_g_loss, steps=steps)
    assert_members_are(G, Gs, rtol=0, atol=atol)
    assert_members_are(D, Ds, rtol=0, atol=atol)


# --- One layer after the other ---------------------------------------------------------------------------


class Of(nn.Module):
    """A linear map, and then a function of what it returns: a module of one's own."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(self.linear(x))


class Residual(nn.Module):
    """A module of one's own, with children, an absent child and axes counted from the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.ModuleList([nn.Linear(4, 4), nn.Tanh()])
        self.absent = None
        self.register_module("absent_too", None)

    def forward(self, x: Tensor) -> Tensor:
        h = x
        for part in self.inner:
            h = part(h)
        return x + h - x.mean(-1, keepdim=True)


class Labelled(nn.Module):
    """A network of numbers and labels, which returns two things."""

    def __init__(self, features: int = 5) -> None:
        super().__init__()
        self.table, self.body, self.head = nn.Embedding(3, 2), mlp(6, features), nn.Linear(features, 1)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body(torch.cat([x, self.table(y)], -1))
        return h, self.head(h)


def layer_used_twice(wrap: Callable[[nn.Module], nn.Module] = lambda layer: layer) -> nn.Module:
    layer = wrap(nn.Linear(4, 4))
    return nn.Sequential(layer, nn.Tanh(), layer)


#: Networks, and the shape of a sample; "labels" are whole numbers.
LAYERS: dict[str, tuple[Make, tuple[int, ...] | str]] = {
    "linear": (lambda: nn.Linear(4, 5), (4,)),
    "linear without bias": (lambda: nn.Linear(4, 5, bias=False), (4,)),
    "linear of one feature": (lambda: nn.Linear(1, 5), (1,)),
    "linear of one feature without bias": (lambda: nn.Linear(1, 5, bias=False), (1,)),
    "embedding": (lambda: nn.Embedding(3, 2), "labels"),
    "noise and labels": (Labelled, "noise and labels"),
    "mlp": (lambda: mlp(4, 6, 6, 2), (4,)),
    "maxout": (lambda: Maxout(4, 3, pieces=5), (4,)),
    "minibatch discrimination": (lambda: MinibatchDiscrimination(4, kernels=3, dimensions=2), (4,)),
    "standardise": (lambda: nn.Sequential(Standardise(3.0, 2.0), nn.Linear(4, 4)), (4,)),
    "batch norm": (lambda: nn.BatchNorm1d(4), (4,)),
    "batch norm of sequences": (lambda: nn.BatchNorm1d(4), (4, 3)),
    "batch norm without weights": (lambda: nn.BatchNorm1d(4, affine=False), (4,)),
    "batch norm that keeps no statistics": (lambda: nn.BatchNorm1d(4, track_running_stats=False), (4,)),
    "batch norm of images": (lambda: nn.BatchNorm2d(4, momentum=0.3, eps=0.01), (4, 3, 3)),
    "convolution": (lambda: nn.Conv2d(2, 4, 3, stride=2, padding=1), (2, 6, 6)),
    "convolution without bias": (lambda: nn.Conv2d(2, 4, 3, bias=False), (2, 6, 6)),
    "grouped convolution": (lambda: nn.Conv2d(4, 6, 3, groups=2, dilation=2), (4, 6, 6)),
    "convolution that keeps the size": (lambda: nn.Conv2d(2, 2, 3, padding="same"), (2, 4, 4)),
    "transposed convolution": (lambda: nn.ConvTranspose2d(2, 3, 3, 2, 1, output_padding=1), (2, 3, 3)),
    "convolution of grey images": (
        lambda: nn.Conv2d(1, 3, (3, 2), stride=(2, 3), padding=(1, 0), dilation=(2, 1)), (1, 7, 8),
    ),
    "transposed convolution to grey images": (
        lambda: nn.ConvTranspose2d(2, 1, (3, 2), (2, 3), (1, 0), (1, 2), dilation=(2, 1)), (2, 3, 4),
    ),
    "transposed convolution to grey images without bias": (
        lambda: nn.ConvTranspose2d(2, 1, 4, 2, 1, bias=False), (2, 3, 3),
    ),
    "grouped transposed convolution": (lambda: nn.ConvTranspose2d(4, 6, 3, groups=2), (4, 3, 3)),
    "group norm": (lambda: nn.GroupNorm(2, 4), (4, 3, 3)),
    "group norm without weights": (lambda: nn.GroupNorm(2, 4, affine=False, eps=0.1), (4,)),
    "layer norm": (lambda: nn.LayerNorm(4), (4,)),
    "layer norm of sequences, without bias": (lambda: nn.LayerNorm(4, bias=False), (3, 4)),
    "layer norm of images": (lambda: nn.LayerNorm((2, 3, 3), eps=0.1), (2, 3, 3)),
    "layer norm without weights": (lambda: nn.LayerNorm(4, elementwise_affine=False), (4,)),
    "upsample": (lambda: nn.Upsample(scale_factor=2), (2, 3, 3)),
    "upsample between pixels": (lambda: nn.Upsample((5, 7), mode="bilinear"), (2, 3, 3)),
    "pixel shuffle": (lambda: nn.PixelShuffle(2), (8, 3, 3)),
    "average of pixels": (lambda: nn.AvgPool2d(3, stride=2, padding=1), (2, 5, 5)),
    "largest of pixels": (lambda: nn.MaxPool2d(2, ceil_mode=True), (2, 5, 5)),
    "average of pixels to a size": (lambda: nn.AdaptiveAvgPool2d((2, 3)), (2, 5, 5)),
    "spectral norm": (lambda: spectral(nn.Linear(4, 5)), (4,)),
    "spectral norm of a vector": (lambda: spectral(nn.Linear(1, 5, bias=False), dim=1), (1,)),
    "spectral norm of two steps": (lambda: spectral(nn.Conv2d(2, 4, 3), n_power_iterations=2), (2, 6, 6)),
    "spectral norm of a grouped convolution": (lambda: spectral(nn.Conv2d(4, 6, 3, groups=2)), (4, 6, 6)),
    "spectral norm of a transposed convolution": (lambda: spectral(nn.ConvTranspose2d(2, 3, 3)), (2, 3, 3)),
    "spectral norm of a table": (lambda: spectral(nn.Embedding(3, 2)), "labels"),
    "spectral norm of a layer used twice": (lambda: layer_used_twice(spectral), (4,)),
    "flatten": (lambda: nn.Flatten(), (2, 3, 3)),
    "flatten the end": (lambda: nn.Flatten(-2), (2, 3, 3)),
    "unflatten": (lambda: nn.Sequential(nn.Linear(4, 12), nn.Unflatten(1, (3, 2, 2))), (4,)),
    "unflatten the end": (lambda: nn.Unflatten(-1, (2, 2)), (4,)),
    "a module of one's own": (lambda: nn.Sequential(Residual(), nn.Linear(4, 1)), (4,)),
    "a layer used twice": (layer_used_twice, (4,)),
    "a threshold": (lambda: Of(lambda h: (h > 0).to(h) + h), (4,)),
    "centred along the batch": (lambda: Of(lambda h: h - h.mean(-2, keepdim=True)), (4,)),
    **{kind.__name__: (lambda kind=kind: nn.Sequential(nn.Linear(4, 4), kind()), (4,))
       for kind in ELEMENTWISE},
}  # fmt: skip


class Counting(nn.Module):
    """Puts a new tensor in the place of its buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.calls = self.calls + 1
        return x * self.calls


class Holding(nn.Module):
    """Has a value that is neither a parameter nor a child, and returns a function of it and its input."""

    def __init__(self, value: object, function: Callable[[Any, Tensor], Tensor] = torch.mul) -> None:
        super().__init__()
        self.value, self.function = value, function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.value, x)


class Doubled(nn.Linear):
    """Computes something else than its base: to treat it as one would be wrong without a word."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def hooked() -> nn.Module:
    layer = nn.Linear(4, 4)
    layer.register_forward_hook(lambda layer, inputs, output: 2 * output)
    return layer


def with_forward_of_its_own() -> nn.Module:
    layer = nn.Linear(4, 4)
    layer.forward = lambda x: 2 * x
    return layer


def tied() -> nn.Module:
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    network[1].weight = network[0].weight
    return network


def refused(function: Callable[[Tensor], Tensor], message: str = "other numbers than its seed") -> Any:
    return lambda: Of(function), (4,), f"Member 0 alone .*{message}"


#: Networks without a stacked form, the shape of a sample, and what is said of them.
UNSTACKED: dict[str, tuple[Make, tuple[int, ...] | str, str]] = {
    "GRU": (lambda: nn.GRU(4, 3), (4,), "GRU has no stacked form: build members of Linear"),
    "Conv1d": (lambda: nn.Conv1d(2, 3, 3), (2, 5), "Conv1d has no stacked form"),
    "Conv3d": (lambda: nn.Conv3d(2, 3, 2), (2, 3, 3, 3), "Conv3d has no stacked form"),
    "InstanceNorm2d": (lambda: nn.InstanceNorm2d(2, affine=True), (2, 3, 3), "InstanceNorm2d has no stacked"),
    "PReLU": (lambda: nn.PReLU(4), (4,), "PReLU has no stacked form"),
    "Softmax": (lambda: nn.Softmax(-1), (4,), "Softmax has no stacked form"),
    "TransformerEncoderLayer": (
        lambda: nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True), (3, 4),
        "[A-Z]\\w+ has no stacked form",
    ),
    "a subclass": (lambda: Doubled(4, 4), (4,), "Doubled has no stacked form"),
    "a buffer": (Counting, (4,), "Counting has no stacked form"),
    "weight norm": (
        lambda: parametrizations.weight_norm(nn.Linear(4, 4)), (4,),
        "Linear that computes its weight by _WeightNorm has no stacked form: take spectral_norm",
    ),
    "spectral norm of a norm": (lambda: spectral(nn.BatchNorm1d(4)), (4,), "BatchNorm1d that computes its w"),
    "power iterations": (
        lambda: spectral(nn.Linear(4, 4), n_power_iterations=1 + int(3 * torch.rand(()).item())), (4,),
        "_SpectralNorm has another n_power_iterations in member 1 than in member 0",
    ),
    "a shared weight": (tied, (4,), "A weight that two layers share has no stacked form"),
    "momentum": (lambda: nn.BatchNorm1d(4, momentum=None), (4,), "momentum=None has no stacked form"),
    "padding": (lambda: nn.Conv2d(4, 1, 3, padding_mode="circular"), (4, 3, 3), "padding_mode='circular'"),
    "padding index": (lambda: nn.Embedding(3, 2, padding_idx=0), "labels", "Embedding with padding_idx=0"),
    "a hook": (hooked, (4,), "Linear has a hook, <lambda>, which has no stacked form"),
    "a forward": (with_forward_of_its_own, (4,), "Linear has a forward of its own"),
    "a list": (
        lambda: Holding([nn.Linear(4, 4).double()], lambda layers, x: layers[0](x)), (4,),
        "Holding keeps layers or weights in value, a plain list",
    ),
    "a number": (lambda: Holding(torch.rand(()).item()), (4,), "another value in member 1 than in member 0,"),
    "a tensor": (lambda: Holding(torch.rand(4)), (4,), "another value in member 1 than in member 0. In an"),
    "a constant": (
        lambda: Of(functools.partial(torch.mul, other=torch.rand(()))), (4,), "Member 2 alone returns other",
    ),
    "centred": refused(lambda h: h - h.mean(0)),
    "an axis counted as in an ensemble": refused(lambda h: h - h.mean(1, keepdim=True)),
    "rows": refused(lambda h: h.sum(1).view(-1, 1), r"returns \(3, 1\), but the ensemble \(6, 1\)"),
    "an outer product": refused(lambda h: torch.einsum("bi,bj->bij", h, h), "in the ensemble it fails: eins"),
    "two batch axes": refused(lambda h: h.flatten(2), "fails, and in the ensemble it works"),
}  # fmt: skip


def inputs_of(shape: tuple[int, ...] | str) -> tuple[Tensor, ...]:
    # As many seeds as samples: to swap these axes would go unnoticed by shapes.
    labels = torch.tensor([[0, 2, 1], [1, 1, 0], [2, 0, 0]])
    if isinstance(shape, str):
        return (labels,) if shape == "labels" else (numbers(3, 3, 4), labels)
    return (numbers(3, 3, *shape),)


def leaves(network: nn.Module, inputs: tuple[Tensor, ...], answer: Any) -> list[Tensor]:
    """Return outputs, and their gradients in weights and inputs."""
    outputs = list(answer) if isinstance(answer, tuple) else [answer]
    roots = [v for v in (*network.parameters(), *inputs) if v.requires_grad]
    slopes = torch.autograd.grad(sum(out.square().sum() for out in outputs), roots, allow_unused=True)
    return [*outputs, *(slope for slope in slopes if slope is not None)]


def assert_does_as_alone(make: Make, shape: tuple[int, ...] | str, stacked: bool) -> None:
    members = plain_networks(make, SEEDS)
    ensemble = Ensemble.of(members, stacked=stacked)
    for training in (True, True, False):  # twice, so that running statistics are moved twice
        inputs = tuple(x.requires_grad_(x.is_floating_point()) for x in inputs_of(shape))
        together = leaves(ensemble, inputs, ensemble.train(training)(inputs))
        for k, member in enumerate(members):
            mine = tuple(x[k].detach().requires_grad_(x.is_floating_point()) for x in inputs)
            alone = leaves(member, mine, member.train(training)(*mine))
            torch.testing.assert_close([x[k] for x in together], alone)
    assert_members_are(ensemble, members)
    for k, member in enumerate(members):
        assert_members_are(Ensemble.of([ensemble.member(k)], stacked=stacked), [member])


@pytest.mark.parametrize("stacked", [True, False])
@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_of_an_ensemble_does_to_each_seed_what_the_plain_layer_does(
    layer: str, stacked: bool
) -> None:
    assert_does_as_alone(*LAYERS[layer], stacked=stacked)


@pytest.mark.parametrize("layer", [name for name in LAYERS if "convolution" in name])
def test_convolutions_by_groups_as_on_a_gpu_are_those_of_each_seed(
    monkeypatch: pytest.MonkeyPatch, layer: str
) -> None:
    monkeypatch.setattr(_Convolution, "in_turn", _Convolution.grouped)
    assert_does_as_alone(*LAYERS[layer], stacked=True)


def test_every_layer_that_has_a_stacked_form_is_tested() -> None:
    tested = {type(part) for make, _ in LAYERS.values() for part in make().modules()}
    assert {*STACKED, *ELEMENTWISE, nn.Flatten, nn.Unflatten} <= tested


@pytest.mark.parametrize("network", UNSTACKED)
def test_what_has_no_stacked_form_is_named_and_runs_one_after_the_other(network: str) -> None:
    make, shape, message = UNSTACKED[network]
    with pytest.raises(TypeError, match=f"{message}.*give stacked=False, which runs the members one after"):
        Ensemble.of(plain_networks(make, SEEDS))(inputs_of(shape))
    if network != "two batch axes":
        assert_does_as_alone(make, shape, stacked=False)


def test_the_table_of_the_reference_names_every_layer_and_how_it_runs() -> None:
    page = (Path(__file__).resolve().parent.parent / "book" / "helpers.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:3] for line in page.partition("### Layer by layer")[2].splitlines()[:40]
            if line.startswith("| ")]  # fmt: skip
    told = {way: re.findall(r"`([A-Za-z]\w+)`", "".join(row[0] for row in rows if way in row[1]))
            for way in ("at once", "one by one")}  # fmt: skip
    ours = {"Maxout", "MinibatchDiscrimination", "Standardise", "Shares", "spectral_norm"}
    assert {*told["at once"]} - ours == {kind.__name__ for kind in KNOWN}
    tried = {type(part).__name__ for make, *_ in UNSTACKED.values() for part in make().modules()}
    assert {*told["one by one"]} <= tried | {"weight_norm"} and "weight norm" in UNSTACKED


@pytest.mark.parametrize("layer", ["linear", "maxout", "minibatch discrimination", "batch norm",
                                   "batch norm of images", "grouped convolution",
                                   "grouped transposed convolution", "group norm", "layer norm of images",
                                   "spectral norm"])  # fmt: skip
def test_what_goes_wrong_in_one_member_stays_there(layer: str) -> None:
    make, shape = LAYERS[layer]
    x, states = numbers(3, 4, *shape), []
    for value in (x[1].clone(), torch.nan):
        ensemble, x[1] = Ensemble.of(plain_networks(make, 3)), value
        losses.minimax_d(ensemble(x), ensemble(-x)).sum().backward()
        adam(ensemble, 0.01).step()
        ensemble(x)  # power iteration comes to the new weights
        states.append(ensemble.state_dict())
    for name, value in states[0].items():
        other = states[1][name]
        assert torch.equal(value[[0, 2]], other[[0, 2]]), name
        assert "num_batches" in name or other[1].isnan().all(), name


# --- The comparison at the first call --------------------------------------------------------------------


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("x", [torch.zeros(3, 1, 4), torch.ones(3, 5, 4), numbers(5, 4).expand(3, 5, 4)])
def test_inputs_that_hide_a_mixing_do_not_hide_it(x: Tensor, seeds: int) -> None:
    for function in (lambda h: h - h.mean(0), lambda h: h.softmax(1), lambda h: h + h.flip(0)):
        with pytest.raises(TypeError, match="alone returns other numbers"):
            Ensemble.of([Of(function).to(x.dtype) for _ in range(seeds)])(x[:seeds])
    for function in (lambda h: h - h.mean(-2, keepdim=True), lambda h: h.softmax(-1)):
        Ensemble.of([Of(function).to(x.dtype) for _ in range(seeds)])(x[:seeds])


class Batchwise(nn.Module):
    def forward(self, h: Tensor) -> Tensor:
        return h - h.mean(0) if self.training else h


def test_training_and_evaluation_are_each_compared() -> None:
    x, D = numbers(3, 5, 4, dtype=torch.float32), Ensemble(Batchwise, 3)
    D.eval()(x)
    with pytest.raises(TypeError, match="alone returns other numbers"):
        D.train()(x)
    assert torch.equal(D.eval()(x), x)


def test_the_comparison_leaves_no_trace_and_is_made_once() -> None:
    calls = []

    def noisy(h: Tensor) -> Tensor:
        calls.append(1)
        return F.dropout(h + torch.randn_like(h), 0.5) * torch.rand(())

    x, outputs = numbers(3, 5, 4, dtype=torch.float32), []
    for before in (True, False):
        ensemble = Ensemble(
            lambda: nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(), Of(noisy)), 3, seed=0, device="cpu"
        )
        if before:
            ensemble.eval()(x)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            outputs.append([ensemble.train()(x), *ensemble.state_dict().values(), torch.get_rng_state()])
        calls.clear()
        for known in (ensemble, ensemble.copy(), copy.deepcopy(ensemble)):
            known(x)
        assert len(calls) == 3
    assert all(map(torch.equal, *outputs))


def test_what_cannot_be_compared_goes_on() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * next(odds)

    odds = itertools.count()
    assert Ensemble(Odd, 2, device="cpu")(torch.ones(2, 3, 1)).shape == (2, 3, 1)
    mixing = Ensemble(lambda: Of(lambda h: h - h.mean(0)), 2, device="meta")
    assert mixing(torch.ones(2, 3, 4, device="meta")).is_meta


def test_training_of_compiled_losses_compares_too() -> None:
    G = Ensemble(lambda: Of(lambda h: h.softmax(1)), 2, device="cpu")
    D = Ensemble(lambda: nn.Linear(3, 1), 2, device="cpu")
    with pytest.raises(TypeError, match="alone returns other numbers"):
        train(
            G, D, Replay(numbers(1, 2, 5, 3).float()), Replay(numbers(2, 2, 5, 4).float()),
            d_loss=lambda G, D, x, z: losses.minimax_d(D(x), D(G(z))),
            g_loss=lambda G, D, x, z: losses.non_saturating_g(D(G(z))),
            d_opt=adam(D, 1e-3), g_opt=adam(G, 1e-3), steps=1, batch=5, compile=True,
        )  # fmt: skip


# --- Several inputs and outputs --------------------------------------------------------------------------


@pytest.mark.parametrize("stacked", [True, False])
def test_inputs_go_through_in_one_pass_and_come_back_apart(stacked: bool) -> None:
    for make, shape in ((Labelled, "noise and labels"), (lambda: mlp(4, 5), (4,))):
        ensemble = Ensemble.of(plain_networks(make, 3), stacked=stacked)
        whole = inputs_of(shape)
        batches = [tuple(x[:, first:] for x in whole) for first in (0, 1, 2)]
        for one, out in zip(batches, ensemble(*batches), strict=True):
            torch.testing.assert_close(out, ensemble(one))


def test_samples_and_labels_pass_through_training() -> None:
    def pairs(seeds: int, batch: int, rng: Stream) -> tuple[Tensor, Tensor]:
        return rng.normal(seeds, batch, 4), rng.integers(3, seeds, batch)

    ends = []
    for stacked in (True, False):
        G, D = (Ensemble(lambda: Labelled(4), 2, name=k, device="cpu", seed=0, stacked=stacked) for k in "GD")
        history = train(
            G, D, pairs, pairs, seed=0, steps=20, batch=8, d_opt=adam(D, 5e-3), g_opt=adam(G, 5e-3), ema=0.9,
            d_loss=lambda G, D, x, z: losses.minimax_d(*[out[1] for out in D(x, (G(z)[0], z[1]))]),
            g_loss=lambda G, D, x, z: losses.non_saturating_g(D((G(z)[0], z[1]))[1]),
        )  # fmt: skip
        ends.append([G.state_dict(), D.state_dict(), history.averaged.state_dict()])
    torch.testing.assert_close(*ends)


def test_a_label_that_is_too_large_does_not_read_another_member() -> None:
    with pytest.raises((RuntimeError, IndexError), match="out of"):
        Ensemble.of(plain_networks(lambda: nn.Embedding(3, 2), 3))((torch.full((3, 2), 3),))


@pytest.mark.parametrize("stacked", [True, False])
def test_a_state_holds_where_power_iteration_is_and_a_step_of_it_leaves_earlier_calls_alone(
    stacked: bool,
) -> None:
    network = Ensemble(lambda: spectral(nn.Linear(4, 5)), 3, device="cpu", seed=0, stacked=stacked)
    (x,), kept = inputs_of((4,)), Weights(network.double()).state()
    before, first = network.eval()(x), network.train()(x)
    assert not torch.equal(network(x), first)
    before.sum().backward()
    Weights(network).load_state(kept)
    assert torch.equal(network.eval()(x), before) and torch.equal(network.train()(x), first)


# --- Dropout ---------------------------------------------------------------------------------------------


def test_dropout_passes_slopes_through_the_masks_of_each_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    members = plain_networks(lambda: nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.4), nn.Linear(8, 1)), SEEDS)
    ensemble, (x,), masks, keep = Ensemble.of(members), inputs_of((4,)), [], Stream.keep
    monkeypatch.setattr(
        Stream, "keep", lambda *args, **like: masks.append(keep(*args, **like)) or masks[-1].clone()
    )
    together = leaves(ensemble, (), ensemble(x))
    for k, member in enumerate(members):
        monkeypatch.setattr(F, "dropout", lambda h, p, *_, k=k: h * masks[0][k] / (1 - p))
        torch.testing.assert_close([value[k] for value in together], leaves(member, (), member(x[k])))


@pytest.mark.parametrize("stacked", [True, False])
def test_dropout(stacked: bool) -> None:
    def dropout(p: float) -> Ensemble:
        return Ensemble(lambda: nn.Dropout(p), 4, device="cpu", seed=0, stacked=stacked)

    before, x = torch.get_rng_state(), torch.ones(4, 1000, 5)
    network = dropout(0.3)
    kept = Weights(network).state()
    first, second = network(x), network(x)
    assert first.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    assert (first == 0).double().mean((1, 2)).tolist() == pytest.approx([0.3] * 4, abs=0.03)
    assert len({str(mask.tolist()) for mask in (*first, *second)}) == 8  # of their own, new at each call
    assert torch.equal(network.eval()(x), x)
    Weights(network.train()).load_state(kept)
    assert torch.equal(network(x), first) and torch.equal(dropout(0.3)(x), first)
    assert torch.equal(dropout(0.0)(x), x) and not dropout(1.0)(x).any()
    assert torch.equal(torch.get_rng_state(), before)


# --- Starting numbers ------------------------------------------------------------------------------------


def linear(seeds: int = 3, **options: Any) -> Ensemble:
    return Ensemble(lambda: nn.Linear(2, 2), seeds, **{"seed": 0, "device": "cpu"} | options)


def test_a_member_starts_alike_in_ensembles_of_any_size_and_wherever_torch_makes_tensors() -> None:
    large, small = linear(4), linear(2)
    with torch.device("meta"):
        elsewhere = linear(2)
    for name, value in small.state_dict().items():
        assert torch.equal(value, large.state_dict()[name][:2]), name
        assert torch.equal(value, elsewhere.state_dict()[name]), name
    ensembles = (linear(name=name, seed=seed) for name, seed in (("G", 0), ("D", 0), ("G", 1)))
    assert len({str(w.tolist()) for ensemble in ensembles for w in ensemble.network.weight}) == 9


def test_the_random_numbers_of_torch_do_not_matter_and_are_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("accelerators were reseeded"))

    def one(seed: int) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            before = torch.get_rng_state()
            network = Ensemble(lambda: nn.Sequential(nn.Linear(2, 9), nn.Dropout()), 2, seed=3, device="cpu")
            out = network.copy()(torch.ones(2, 4, 2))
            assert network.member(1) and torch.equal(torch.get_rng_state(), before)
            return out

    assert torch.equal(one(1), one(2))


# --- Members and copies ----------------------------------------------------------------------------------


@pytest.mark.parametrize("stacked", [True, False])
def test_frozen_weights_stay_frozen_and_names_are_those_of_a_member(stacked: bool) -> None:
    plain = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1).requires_grad_(False))
    ensemble = Ensemble(lambda: copy.deepcopy(plain), 4, device="cpu", stacked=stacked)
    assert ensemble.network.state_dict().keys() == plain.state_dict().keys()
    assert [p.requires_grad for p in ensemble.parameters()] == [True] * 4 + [False] * 2
    assert ensemble.architecture == repr(plain)


def test_a_member_taken_out_is_a_plain_copy_in_its_precision_and_mode() -> None:
    members = plain_networks(lambda: nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Dropout()), 2)
    for ensemble in (Ensemble.of(members), Ensemble.of([member.eval() for member in members])):
        taken = ensemble.member(1)
        assert [type(layer) for layer in taken] == [nn.Linear, nn.BatchNorm1d, nn.Dropout]
        assert all(p.requires_grad and p.dtype == torch.float64 for p in taken.parameters())
        assert {part.training for part in (*ensemble.modules(), *taken.modules())} == {ensemble.training}
        nn.init.zeros_(taken[0].weight)
        nn.init.zeros_(ensemble.network[0].weight[0])
        assert_members_are(Ensemble.of([ensemble.member(1)]), [members[1]], rtol=0, atol=0)
        assert members[0][0].weight.all()
    assert not ensemble.training and ensemble.float().member(0)[0].weight.dtype == torch.float32


@pytest.mark.parametrize("stacked", [True, False])
def test_a_copy_shares_nothing_and_is_not_trained(stacked: bool) -> None:
    members = [nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Dropout()) for _ in range(2)]
    ensemble = Ensemble.of(members, stacked=stacked)
    twin = ensemble.copy()
    assert not any(p.requires_grad for p in twin.parameters())
    assert all(p.requires_grad for p in ensemble.parameters())
    before = copy.deepcopy(ensemble.network.state_dict())
    x = torch.ones(2, 40, 2)
    first = twin(x)  # draws masks and moves statistics, of the twin alone
    assert all(map(torch.equal, before.values(), ensemble.network.state_dict().values()))
    assert torch.equal(ensemble(x), first)


# --- Wrong arguments, but for those that `test_arguments` tries ------------------------------------------

NETWORK = mlp(1, 2, 1)
ONES = torch.ones(3, 2, 2)
FOURS = torch.ones(3, 2, 4)
LABELS = torch.zeros(3, 2).long()


def called(make: Make, *inputs: Any) -> Any:
    return Ensemble(make, 3, device="cpu")(*inputs)


def pair(*inputs: Any) -> Any:
    return called(lambda: mlp(2, 1), *inputs)


WRONG: dict[str, Callable[[], Any]] = {
    "return a torch.nn.Module, not Tensor": lambda: Ensemble(lambda: torch.ones(2), 2),
    r"not a network, Sequential: write lambda: mlp\(1, 4, 1\)": lambda: Ensemble(NETWORK, 2),
    "member must make a new network at each call": lambda: Ensemble(lambda: NETWORK, 2),
    "members is empty": lambda: Ensemble.of([]),
    "members differ in architecture": lambda: Ensemble.of([mlp(2, 3, 1), mlp(2, 4, 1)]),
    "float64 .* and .*float32": lambda: Ensemble.of([NETWORK, mlp(1, 2, 1).double()]),
    "another training in member 1": lambda: Ensemble.of([mlp(1, 2, 1).eval(), NETWORK]),
    "LazyLinear has no weights before its first call": lambda: Ensemble(lambda: nn.LazyLinear(4), 2),
    "DataParallel is a wrapper: give": lambda: Ensemble(lambda: nn.DataParallel(nn.Linear(2, 2)), 2),
    "SpectralNorm.*parametrizations": lambda: Ensemble.of([spectral_norm(nn.Linear(2, 2))]),
    "prune.remove": lambda: Ensemble.of([prune.identity(nn.Linear(2, 2), "weight")]),
    "k must be at most 2, not 3": lambda: linear().member(3),
    r"seeds = 3, not \(5, 3, 2\)": lambda: pair(torch.ones(5, 3, 2)),
    r"reach MaxPool2d as \(seeds, batch, channels, height, width\), not \(2, 2, 4": lambda: called(
        lambda: nn.MaxPool2d(2), FOURS[..., None].expand(-1, -1, -1, 4)
    ),
    r"reach LayerNorm as \(seeds, ..., 4, 4\), not \(3, 2, 4\)": lambda: called(
        lambda: nn.LayerNorm((4, 4)), FOURS
    ),
    r"reach GroupNorm as \(seeds, batch, 2\), not \(3, 2, 4\)": lambda: called(
        lambda: nn.GroupNorm(1, 2), FOURS
    ),
    r"inputs\[1\] must have shape": lambda: pair(ONES, ONES[:1]),
    "at least one input": pair,
    r"inputs\[0\] must hold 1 tensors, as a member .*, not 2": lambda: pair((ONES, LABELS)),
    r"hold 2 .*, not 1: put .* into a tuple, G\(\(z, y\)\)": lambda: called(Labelled, ONES, LABELS),
    r"inputs\[0\]\[1\] must be of type Tensor": lambda: called(Labelled, (ONES, [1, 2])),
    r"inputs\[0\]\[1\] must have shape .* not \(2, 2\)": lambda: called(Labelled, (ONES, LABELS[:2])),
    r"one batch, not \[\(3, 2, 2\), \(3, 1\)\]": lambda: called(Labelled, (ONES, LABELS[:, :1])),
    "a tensor or a tuple of tensors, not dict": lambda: called(lambda: Of(lambda h: {"h": h}), FOURS, FOURS),
    "once for each input": lambda: called(lambda: Of(lambda h: h.mean(-2, True)), FOURS, FOURS),
}


@pytest.mark.parametrize("words", WRONG)
def test_what_is_wrong_is_named(words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        WRONG[words]()
