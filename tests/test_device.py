"""The device is chosen by computing, once; and no tensor of any training path is left on another one."""

from __future__ import annotations

import inspect
import logging
import math
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import gan_helpers
from gan_helpers import data, device, losses, penalties
from gan_helpers._stacking import ELEMENTWISE, STACKED
from gan_helpers.data import Sampler
from gan_helpers.device import candidates, choose_device, default_device, memory_advice, probe
from gan_helpers.ensemble import Ensemble
from gan_helpers.models import Maxout, Standardise, decorate, mlp
from gan_helpers.options import Turns
from gan_helpers.randomness import Stream
from gan_helpers.training import Loss, adam, train
from tests.plain_gan import numbers
from tests.reliability import Reached, measured

CPU, META = torch.device("cpu"), torch.device("meta")
GPU, OTHER = torch.device("cuda"), torch.device("mps")  # names alone: the fake probes touch no device


# --- The choice ------------------------------------------------------------------------------------------


@pytest.fixture
def notices(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.DEBUG, logger="gan_helpers")
    return lambda: [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("no kernel image is available"), "no kernel image is available"),
        (torch.OutOfMemoryError("out of memory\nTried to allocate 2 GiB\n"), "out of memory"),
        (ArithmeticError("\n\n  the product came out wrong"), "the product came out wrong"),
        (NotImplementedError(""), "NotImplementedError"),
    ],
)
def test_a_device_on_which_nothing_runs_is_left_out_with_one_line_and_the_next_is_tried(
    error: Exception, reason: str, notices: Callable[[], list[str]]
) -> None:
    tried = []

    def second_works(device: torch.device) -> None:
        tried.append(device)
        warnings.warn("the driver is too old", stacklevel=1)  # here warnings are errors
        if device == GPU:
            raise error

    assert choose_device(iter([GPU, OTHER, META]), second_works) == OTHER
    assert choose_device([GPU], second_works) == CPU
    assert tried == [GPU, OTHER, GPU]
    assert notices() == 2 * [f"Using the CPU: cuda is there but does not compute ({reason})."]


def test_without_an_accelerator_it_is_the_cpu_without_a_word(
    monkeypatch: pytest.MonkeyPatch, notices: Callable[[], list[str]]
) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: None)
    assert candidates() == []
    assert choose_device() == CPU
    assert notices() == []


def test_people_who_set_no_logging_up_see_the_line() -> None:
    code = "from gan_helpers.device import choose_device\nchoose_device(['cpu'], lambda device: 1 / 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert done.stderr == "Using the CPU: cpu is there but does not compute (division by zero).\n"


def test_a_person_at_the_keyboard_can_stop_the_choice() -> None:
    def interrupted(device: torch.device) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        choose_device([GPU], interrupted)


@pytest.mark.parametrize("wrong", [lambda a, b: a * b, lambda a, b: torch.mm(a, b.detach())])
def test_the_probe_fails_where_products_or_gradients_come_out_wrong(
    wrong: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    probe(CPU)
    monkeypatch.setattr(Tensor, "__matmul__", wrong)
    with pytest.raises(ArithmeticError, match="came out wrong"):
        probe(CPU)


def test_a_device_that_is_announced_but_holds_no_numbers_is_left_out(
    monkeypatch: pytest.MonkeyPatch, notices: Callable[[], list[str]]
) -> None:
    """The meta device stands for such a GPU: tensors can be made on it, and their values never come."""

    def announced(check_available: bool) -> torch.device:
        warnings.warn("the driver is too old", stacklevel=1)
        return META

    monkeypatch.setattr(torch.accelerator, "current_accelerator", announced)
    assert choose_device() == CPU
    (notice,) = notices()
    assert notice.startswith("Using the CPU: meta is there but does not compute (") and "\n" not in notice


@pytest.fixture
def unchosen(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget the choice, and forget afterwards what the test made of it."""
    monkeypatch.delenv("GAN_BOOK_DEVICE", raising=False)
    default_device.cache_clear()
    yield
    default_device.cache_clear()


# What a machine's driver does: no accelerator, or one that raises when tensors are made on it.
NO_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 512.00 MiB.\nSee the manual.")
DRIVERS: dict[str, Exception | None] = {
    "no accelerator": None,
    "no kernels for this card": RuntimeError("CUDA error: no kernel image is available for the device"),
    "an old driver": RuntimeError("The NVIDIA driver on your system is too old (found version 11040)."),
    "no driver": AssertionError("Torch not compiled with CUDA enabled"),
    "a card that is full": NO_MEMORY,
}


def accelerated(monkeypatch: pytest.MonkeyPatch, error: Exception | None, least: int = 0) -> None:
    """Announce an accelerator on which making more than ``least`` numbers at a time raises."""
    monkeypatch.setattr(device, "candidates", lambda: [] if error is None else [GPU])

    def on_accelerator(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def made(*shape: int, **options: object) -> Tensor:
            if torch.device(options.get("device") or "cpu").type == GPU.type:
                if math.prod(shape) > least:
                    raise error
                options["device"] = CPU
            return make(*shape, **options)

        return made

    for name in ("empty", "ones"):
        monkeypatch.setattr(torch, name, on_accelerator(getattr(torch, name)))


@measured("device", "drivers that announce what does not compute", fast=1, slow=1)
def test_training_ends_on_the_cpu_with_one_line(
    effort: int,
    reached: Reached,
    unchosen: None,
    monkeypatch: pytest.MonkeyPatch,
    notices: Callable[[], list[str]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name, error in DRIVERS.items():
        default_device.cache_clear()
        caplog.clear()
        with monkeypatch.context() as patch:
            accelerated(patch, error, least=100 if name == "a card that is full" else 0)
            G, D = (Ensemble(lambda: mlp(2, 4, 2), 2, name=player) for player in "GD")
            options = {"d_opt": adam(D, 1e-3), "g_opt": adam(G, 1e-3), "steps": 3, "batch": 4}
            history = train(G, D, PAIRS, PAIRS, d_loss=d_loss, g_loss=g_loss, **options)
        assert history.steps == 3 and history.d_loss.device == CPU, name
        lines = [] if error is None else [str(error).splitlines()[0]]
        assert notices() == [f"Using the CPU: cuda is there but does not compute ({line})." for line in lines]
    reached(
        f"{len(DRIVERS)} of {len(DRIVERS)} end on the CPU, with one line where an accelerator was announced"
    )


@pytest.mark.parametrize("error", [NO_MEMORY, RuntimeError("MPS backend out of memory")])
def test_training_that_runs_out_of_memory_says_what_to_do(error: Exception) -> None:
    def full(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        raise error

    with pytest.raises(torch.OutOfMemoryError, match="GAN_BOOK_DEVICE=cpu") as found:
        run_on_meta(g_loss=full)
    first = str(error).splitlines()[0]
    assert str(found.value).startswith(f"{first} To train on the CPU, set") and "\n" not in str(found.value)


def test_advice_on_memory_is_given_on_nothing_else() -> None:
    with pytest.raises(RuntimeError, match="^shapes$"), memory_advice():
        raise RuntimeError("shapes")


def test_a_device_can_be_asked_for(
    unchosen: None, monkeypatch: pytest.MonkeyPatch, notices: Callable[[], list[str]]
) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: META)
    monkeypatch.setenv("GAN_BOOK_DEVICE", "cpu")
    assert default_device() == CPU
    assert notices() == [], "it was asked for"
    monkeypatch.setenv("GAN_BOOK_DEVICE", "")
    assert candidates() == [META]
    monkeypatch.setenv("GAN_BOOK_DEVICE", "abacus")
    with pytest.raises(ValueError, match="GAN_BOOK_DEVICE must name a device, .* not 'abacus'"):
        candidates()


def test_the_device_is_chosen_once_and_new_networks_are_made_on_it(
    unchosen: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    monkeypatch.setattr(device, "choose_device", lambda: calls.append(1) or META)
    for _ in range(2):
        ensemble = Ensemble(lambda: nn.Sequential(nn.BatchNorm1d(2), nn.Dropout()), 2)
        assert all(value.is_meta for value in ensemble.state_dict().values())
        assert ensemble(torch.ones(2, 3, 2, device=META)).is_meta
    assert len(calls) == 1


def test_no_other_module_asks_which_device_there_is() -> None:
    asks = re.compile(r"torch\.(cuda|accelerator|mps|xpu|backends)|\.cuda\(|is_available")
    for path in Path(gan_helpers.__file__).parent.rglob("*.py"):
        if path.name != "device.py":
            assert not asks.search(path.read_text(encoding="utf-8")), path.name


# --- Every training path on another device ---------------------------------------------------------------


class OneDevice(TorchDispatchMode):
    """Fails where one operation meets tensors of two devices, as it would on a GPU.

    The meta device checks that in some operations only: a matrix product there takes a CPU tensor without
    a word. As on a GPU, a tensor may be copied over, and a single number of the CPU may take part.
    """

    COPIES = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # noqa: ANN001, ANN204
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        devices = {tensor.device.type for tensor in tensors if tensor.dim()}
        if len(devices) > 1 and func not in self.COPIES:
            raise RuntimeError(f"{func} meets tensors on {sorted(devices)}")
        return func(*args, **(kwargs or {}))


def draw(*shape: int) -> Sampler:
    return lambda seeds, batch, rng: rng.normal(seeds, batch, *shape)


PAIRS = draw(2)


def d_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
    return losses.minimax_d(D(x), D(G(z).detach()))


def g_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
    return losses.non_saturating_g(D(G(z)))


def run_on_meta(
    G: Callable[[], nn.Module] = lambda: mlp(2, 4, 2),
    D: Callable[[], nn.Module] = lambda: mlp(2, 4, 1),
    data: Sampler = PAIRS,
    noise: Sampler = PAIRS,
    d_loss: Loss = d_loss,
    g_loss: Loss = g_loss,
    **options: object,
) -> None:
    """Train for three steps on the meta device, and look where everything is."""
    generators, discriminators = (
        Ensemble(of, 2, name=name, device=META) for of, name in ((G, "G"), (D, "D"))
    )
    with OneDevice():
        history = train(
            generators, discriminators, data, noise, d_loss=d_loss, g_loss=g_loss,
            d_opt=adam(discriminators, 1e-3), g_opt=adam(generators, 1e-3),
            **{"steps": 3, "batch": 4, **options},
        )  # fmt: skip
    left = [history.d_loss, history.g_loss, *history.watched.values()]
    for network in (generators, discriminators, history.averaged):
        left += [] if network is None else network.state_dict().values()
    assert all(tensor.is_meta for tensor in left)


def parts(module: ModuleType) -> dict[str, Callable[..., Tensor]]:
    """The public functions of a module, by name."""
    functions = inspect.getmembers(module, inspect.isfunction)
    return {name: f for name, f in functions if f.__module__ == module.__name__ and not name.startswith("_")}


def as_loss(function: Callable[..., Tensor]) -> Loss:
    """A function of the package as a loss of the loop: its arguments are known by their names."""

    def loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        is_penalty = function.__module__ == penalties.__name__
        known = {"D": D, "x": x, "fake": G(z), "rng": PENALTY_RNG}
        known |= {} if is_penalty else {"real": D(x), "fake": D(G(z))}
        wanted = inspect.signature(function).parameters
        made = function(**{name: known[name] for name in wanted if name in known})
        return made + d_loss(G, D, x, z) if is_penalty else made

    return loss


PENALTY_RNG = Stream("penalty", device=META)
PENALTIES = {
    name: part for name, part in parts(penalties).items() if name != "squared_slopes"
}  # r1's and r2's
OPTIONS: dict[str, dict[str, object]] = {
    "several G steps": {"turns": Turns(g_steps=2)},
    "simultaneous": {"turns": Turns(simultaneous=True)},
    "everything else": {
        "turns": Turns(d_steps=2, reuse_noise=True), "ema": 0.9,
        "watch": lambda G: {"mean": G(torch.zeros(2, 5, 2, device=META)).mean((1, 2))},
    },
}  # fmt: skip


def every_layer_of_g() -> nn.Module:
    return nn.Sequential(
        nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Unflatten(1, (2, 2, 2)), nn.BatchNorm2d(2), nn.ReLU(),
        nn.ConvTranspose2d(2, 1, 4, 2, 1), nn.Flatten(), nn.Linear(16, 2),
    )  # fmt: skip


def every_layer_of_d() -> nn.Module:
    return nn.Sequential(
        Standardise(4.0, 1.25), Maxout(2, 16, 3), nn.Dropout(0.5), nn.Unflatten(1, (1, 4, 4)),
        nn.Conv2d(1, 3, 3, 2, 1), nn.Flatten(), *[kind() for kind in ELEMENTWISE], nn.Linear(12, 1),
    )  # fmt: skip


def sides(x: Tensor) -> Tensor:
    return (x[..., 0] > 0).long()


class Labelled(nn.Module):
    """A discriminator of samples and their labels."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(2, 3), nn.Linear(5, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        logits: Tensor = self.head(torch.cat([x, self.table(y)], -1))
        return logits


def samplers() -> dict[str, Sampler]:
    rows = torch.empty(6, 2, device=META)
    return {
        "Normal": data.Normal(4.0, 1.25),
        "Uniform": data.Uniform(-1.0, 1.0, 2),
        "StandardNormal": data.StandardNormal(2),
        "Gaussian": data.Gaussian(torch.zeros(2), torch.eye(2)),
        "GaussianMixture": data.ring(),
        "Sinusoids": data.Sinusoids(points=2),
        "Resample": data.Resample(rows),
        "Minibatches": data.Minibatches(rows),
    }


PATHS: dict[str, dict[str, object]] = {
    **{name: {f"{name[-1]}_loss": as_loss(f)} for name, f in parts(losses).items()},
    **{f"penalty: {name}": {"d_loss": as_loss(f)} for name, f in PENALTIES.items()},
    **{f"option: {name}": options for name, options in OPTIONS.items()},
    "layers of G": {"G": every_layer_of_g, "ema": 0.9},
    "layers of D": {"D": every_layer_of_d},
    "labels": {
        "D": Labelled,
        "d_loss": lambda G, D, x, z: losses.minimax_d(*D((x, sides(x)), (G(z), sides(x)))),
        "g_loss": lambda G, D, x, z: losses.non_saturating_g(D((G(z), sides(x)))),
    },
    "decorated batch": {
        "D": lambda: mlp(8, 4, 1), "G": lambda: mlp(2, 4, 1), "data": draw(1),
        "d_loss": lambda G, D, x, z: losses.minimax_d(D(decorate(x)), D(decorate(G(z)))),
        "g_loss": lambda G, D, x, z: losses.non_saturating_g(D(decorate(G(z)))),
    },
}  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_no_tensor_of_a_training_path_is_left_on_the_cpu(path: str) -> None:
    run_on_meta(**PATHS[path])


@pytest.mark.parametrize("name", samplers())
def test_no_sampler_leaves_a_tensor_on_the_cpu(name: str) -> None:
    sampler = samplers()[name]
    features = sampler.features
    run_on_meta(G=lambda: mlp(2, 4, features), D=lambda: mlp(features, 4, 1), data=sampler)
    run_on_meta(G=lambda: mlp(features, 4, 2), noise=samplers()[name])


def test_every_layer_and_sampler_is_on_a_path() -> None:
    networks = every_layer_of_g(), every_layer_of_d(), Labelled()
    used = {type(part) for network in networks for part in network.modules()}
    assert {*STACKED, *ELEMENTWISE, nn.Dropout} <= used
    classes = {
        name
        for name, kind in inspect.getmembers(data, inspect.isclass)
        if kind.__module__ == data.__name__ and "__call__" in dir(kind) and not inspect.isabstract(kind)
    }
    assert classes - {"Sampler"} == set(samplers())


class Rotated(nn.Module):
    """A layer with a matrix that stays on the CPU, which the meta device itself does not mind."""

    def forward(self, x: Tensor) -> Tensor:
        return x @ torch.eye(x.shape[-1], device=CPU)


FORGOTTEN: dict[str, dict[str, object]] = {
    "data": {"data": lambda seeds, batch, rng: torch.zeros(seeds, batch, 2)},
    "noise": {"noise": lambda seeds, batch, rng: torch.zeros(seeds, batch, 2)},
    "layer of G": {"G": lambda: nn.Sequential(nn.Linear(2, 2), Rotated())},
    "layer of D": {"D": lambda: nn.Sequential(Rotated(), nn.Linear(2, 1))},
    "loss": {"d_loss": lambda G, D, x, z: d_loss(G, D, x, z) * torch.ones(2)},
    "watch": {"watch": lambda G: {"samples": G(torch.zeros(2, 5, 2))}},
}


@pytest.mark.parametrize("place", FORGOTTEN)
def test_a_tensor_left_on_the_cpu_is_found(place: str) -> None:
    with pytest.raises(RuntimeError, match="meets tensors on|is not on the expected device"):
        run_on_meta(**FORGOTTEN[place])


def test_players_on_two_devices_are_an_error() -> None:
    G, D = Ensemble(lambda: mlp(2, 2), 2, device=META), Ensemble(lambda: mlp(2, 1), 2, device=CPU)
    with pytest.raises(ValueError, match=r"one device, not on \['cpu', 'meta'\]"):
        train(
            G, D, draw(2), draw(2), d_loss=d_loss, g_loss=g_loss, d_opt=adam(D, 1e-3), g_opt=adam(G, 1e-3),
            steps=1, batch=1,
        )  # fmt: skip


def test_an_ensemble_of_networks_lives_where_they_live() -> None:
    assert Ensemble.of([nn.Linear(2, 2)]).network.weight.device == CPU
    assert Ensemble.of([nn.Linear(2, 2)], device=META).network.weight.is_meta
    assert Ensemble.of([nn.Tanh()])(numbers(1, 2, 2)).device == CPU
