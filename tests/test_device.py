"""The device is chosen by computing, once; and no tensor of any training path is left on another one."""

import inspect
import logging
import math
import re
import warnings
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import gan_helpers
from gan_helpers import data, device, losses, penalties
from gan_helpers._stacking import ELEMENTWISE, STACKED
from gan_helpers.device import candidates, choose_device, default_device, memory_advice, probe
from gan_helpers.ensemble import Ensemble
from gan_helpers.models import Maxout, Standardise, decorate, mlp
from gan_helpers.options import Turns
from gan_helpers.randomness import Stream
from gan_helpers.training import adam, train
from tests.plain_gan import numbers
from tests.reliability import measured

CPU, META = torch.device("cpu"), torch.device("meta")
GPU, OTHER = torch.device("cuda"), torch.device("mps")  # names alone: the fake probes touch no device


def d_loss(G, D, x, z):
    return losses.minimax_d(D(x), D(G(z).detach()))


def g_loss(G, D, x, z):
    return losses.non_saturating_g(D(G(z)))


def trained(G, D, **options):
    """Train for three steps, by default on pairs of numbers."""
    pairs = data.StandardNormal(2)
    given = {"d_loss": d_loss, "g_loss": g_loss, "d_opt": adam(D, 1e-3), "g_opt": adam(G, 1e-3)}
    return train(G, D, pairs, pairs, **given | {"steps": 3, "batch": 4} | options)


# --- The choice ------------------------------------------------------------------------------------------


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
    error, reason, caplog
):
    def second_works(device):
        warnings.warn("the driver is too old", stacklevel=1)  # here warnings are errors
        if device == GPU:
            raise error

    assert choose_device(iter([GPU, OTHER, META]), second_works) == OTHER
    assert choose_device([GPU], second_works) == CPU
    assert caplog.messages == 2 * [f"Using the CPU: cuda is there but does not compute ({reason})."]


def test_people_who_set_no_logging_up_see_the_line(monkeypatch, capsys):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # those of pytest
    choose_device(["cpu"], lambda device: 1 / 0)
    said, complaint = capsys.readouterr()
    assert (said, complaint.count("\n")) == ("", 1)
    assert "does not compute (division by zero)" in complaint


def test_a_person_at_the_keyboard_can_stop_the_choice():
    with pytest.raises(KeyboardInterrupt):
        choose_device([GPU], Mock(side_effect=KeyboardInterrupt))


@pytest.mark.parametrize("wrong", [lambda a, b: a * b, lambda a, b: torch.mm(a, b.detach())])
def test_the_probe_fails_where_products_or_gradients_come_out_wrong(wrong, monkeypatch):
    probe(CPU)
    monkeypatch.setattr(Tensor, "__matmul__", wrong)
    with pytest.raises(ArithmeticError, match="came out wrong"):
        probe(CPU)


@pytest.fixture
def unchosen(monkeypatch):
    """Forget the choice, and forget afterwards what the test made of it."""
    monkeypatch.delenv("GAN_BOOK_DEVICE", raising=False)
    default_device.cache_clear()
    yield
    default_device.cache_clear()


# What a machine's driver does: no accelerator, or one that raises when tensors are made on it.
NO_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 512.00 MiB.\nSee the manual.")
DRIVERS = {
    "no accelerator": None,
    "no kernels for this card": RuntimeError("CUDA error: no kernel image is available for the device"),
    "an old driver": RuntimeError("The NVIDIA driver on your system is too old (found version 11040)."),
    "no driver": AssertionError("Torch not compiled with CUDA enabled"),
    "a card that is full": NO_MEMORY,
}


def accelerated(monkeypatch, error):
    """Announce an accelerator that raises at each tensor, or if it is full, at more than 100 numbers."""

    def announced(check_available=False):
        if check_available:
            warnings.warn("the driver is too old", stacklevel=1)
        return GPU if error and check_available else None

    def on_accelerator(make):
        def made(*shape, **options):
            if torch.device(options.get("device") or "cpu").type == GPU.type:
                if error is not NO_MEMORY or math.prod(shape) > 100:
                    raise error
                options["device"] = CPU
            return make(*shape, **options)

        return made

    monkeypatch.setattr(torch.accelerator, "current_accelerator", announced)
    for name in ("empty", "ones"):
        monkeypatch.setattr(torch, name, on_accelerator(getattr(torch, name)))


@measured("device", "drivers that announce what does not compute", fast=1, slow=1)
def test_training_ends_on_the_cpu_with_one_line(effort, reached, unchosen, monkeypatch, caplog):
    for name, error in DRIVERS.items():
        default_device.cache_clear()
        caplog.clear()
        with monkeypatch.context() as patch:
            accelerated(patch, error)
            players = [Ensemble(lambda: mlp(2, 4, 2), 2, name=player) for player in "GD"]
        history = trained(*players)
        assert history.steps == 3 and history.d_loss.device == CPU, name
        lines = [] if error is None else [str(error).splitlines()[0]]
        assert caplog.messages == [
            f"Using the CPU: cuda is there but does not compute ({line})." for line in lines
        ]
    count = len(DRIVERS)
    reached(f"{count} of {count} end on the CPU, with one line where an accelerator was announced")


@pytest.mark.parametrize("error", [NO_MEMORY, RuntimeError("MPS backend out of memory")])
def test_training_that_runs_out_of_memory_says_what_to_do(error):
    first = re.escape(str(error).splitlines()[0])
    with pytest.raises(torch.OutOfMemoryError, match=rf"\A{first} .*GAN_BOOK_DEVICE=cpu"):
        run_on_meta(g_loss=Mock(side_effect=error))
    with pytest.raises(RuntimeError, match="^shapes$"), memory_advice():
        raise RuntimeError("shapes")


def test_a_device_can_be_asked_for(unchosen, monkeypatch, caplog):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: META)
    monkeypatch.setenv("GAN_BOOK_DEVICE", "cpu")
    assert default_device() == CPU
    assert caplog.messages == [], "it was asked for"
    monkeypatch.setenv("GAN_BOOK_DEVICE", "")
    assert candidates() == [META]
    monkeypatch.setenv("GAN_BOOK_DEVICE", "abacus")
    with pytest.raises(ValueError, match="GAN_BOOK_DEVICE must name a device, .* not 'abacus'"):
        candidates()


def test_the_device_is_chosen_once_and_new_networks_are_made_on_it(unchosen, monkeypatch):
    calls = []
    monkeypatch.setattr(device, "choose_device", lambda: calls.append(1) or META)
    for _ in range(2):
        ensemble = Ensemble(lambda: nn.Sequential(nn.BatchNorm1d(2), nn.Dropout()), 2)
        assert all(value.is_meta for value in ensemble.state_dict().values())
        assert ensemble(torch.ones(2, 3, 2, device=META)).is_meta
    assert len(calls) == 1


def test_no_other_module_asks_which_device_there_is():
    """But the one that gives each of several processes a GPU of its own."""
    asks = re.compile(r"torch\.(cuda|accelerator|mps|xpu|backends)|\.cuda\(|is_available")
    for path in Path(gan_helpers.__file__).parent.rglob("*.py"):
        if path.name not in ("device.py", "processes.py"):
            assert not asks.search(path.read_text(encoding="utf-8")), path.name


# --- Every training path on another device ---------------------------------------------------------------


class OneDevice(TorchDispatchMode):
    """Fails where one operation meets tensors of two devices, as it would on a GPU.

    The meta device checks that in some operations only: a matrix product there takes a CPU tensor without
    a word. As on a GPU, a tensor may be copied over, and a single number of the CPU may take part.
    """

    COPIES = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        devices = {tensor.device.type for tensor in tensors if tensor.dim()}
        if len(devices) > 1 and func not in self.COPIES:
            raise RuntimeError(f"{func} meets tensors on {sorted(devices)}")
        return func(*args, **(kwargs or {}))


def run_on_meta(G=lambda: mlp(2, 4, 2), D=lambda: mlp(2, 4, 1), **options):
    """Train for three steps on the meta device, and look where everything is."""
    players = [Ensemble(of, 2, name=name, device=META) for of, name in ((G, "G"), (D, "D"))]
    with OneDevice():
        history = trained(*players, **options)
    left = [history.d_loss, history.g_loss, *history.watched.values()]
    for network in [*players, history.averaged]:
        left += [] if network is None else network.state_dict().values()
    assert all(tensor.is_meta for tensor in left)


def as_loss(function):
    """A loss or a penalty of the package as a loss of the loop: its arguments are known by their names."""
    wanted = [name for name, p in inspect.signature(function).parameters.items() if p.default is p.empty]
    rng = Stream("penalty", device=META)

    def loss(G, D, x, z):
        fake = G(z) if "D" in wanted else D(G(z))
        known = {"D": D, "x": x, "real": D(x), "fake": fake, "rng": rng}
        return d_loss(G, D, x, z) + function(**{name: known[name] for name in wanted})

    return loss


def every_layer_of_g():
    return nn.Sequential(
        nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Unflatten(1, (2, 2, 2)), nn.BatchNorm2d(2), nn.ReLU(),
        nn.ConvTranspose2d(2, 8, 4, 2, 1), nn.GroupNorm(2, 8), nn.PixelShuffle(2), nn.AvgPool2d(2),
        nn.Upsample(scale_factor=2), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.LayerNorm(8),
        nn.Linear(8, 2),
    )  # fmt: skip


def every_layer_of_d():
    return nn.Sequential(
        Standardise(4.0, 1.25), Maxout(2, 16, 3), nn.Dropout(0.5), nn.Unflatten(1, (1, 4, 4)),
        spectral_norm(nn.Conv2d(1, 3, 3, 2, 1)), nn.Conv2d(3, 3, 1), nn.Flatten(),
        *[kind() for kind in ELEMENTWISE], nn.Linear(12, 1),
    )  # fmt: skip


PATHS = {
    **{
        name: {"g_loss" if name.endswith("_g") else "d_loss": as_loss(f)}
        for module in (losses, penalties)
        for name, f in inspect.getmembers(module, inspect.isfunction)
        if f.__module__ == module.__name__ and name[0] != "_" and name != "squared_slopes"
    },
    "several G steps": {"turns": Turns(g_steps=2)},
    "simultaneous": {"turns": Turns(simultaneous=True)},
    "everything else": {
        "turns": Turns(d_steps=2, reuse_noise=True), "ema": 0.9,
        "watch": lambda G: {"mean": G(torch.zeros(2, 5, 2, device=META)).mean((1, 2))},
    },
    "layers of G": {"G": every_layer_of_g, "ema": 0.9},
    "layers of D": {"D": every_layer_of_d},
}  # fmt: skip
ROWS = torch.empty(6, 2, device=META)
SAMPLERS = [
    data.Normal(4.0, 1.25), data.Uniform(-1.0, 1.0, 2), data.Gaussian(torch.zeros(2), torch.eye(2)),
    data.StandardNormal(2), data.ring(), data.Sinusoids(2), data.Resample(ROWS), data.Minibatches(ROWS),
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_no_tensor_of_a_training_path_is_left_on_the_cpu(path):
    run_on_meta(**PATHS[path])


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: type(sampler).__name__)
def test_no_sampler_leaves_a_tensor_on_the_cpu(sampler):
    with OneDevice():
        for _ in range(3):  # more than an epoch
            assert sampler(2, 4, Stream("data", device=META)).is_meta


def test_labels_and_decorated_batches_stay_where_they_are():
    with OneDevice():
        labels = torch.zeros(2, 3, dtype=torch.long, device=META)
        assert Ensemble(lambda: nn.Embedding(2, 3), 2, device=META)((labels,)).is_meta
        assert decorate(torch.ones(2, 3, 1, device=META)).is_meta


def test_every_layer_and_sampler_is_tried():
    used = {type(part) for network in (every_layer_of_g(), every_layer_of_d()) for part in network.modules()}
    assert {*STACKED, *ELEMENTWISE, nn.Dropout} <= used | {nn.Embedding}
    kinds = [
        kind for kind in vars(data).values() if inspect.isclass(kind) and kind.__module__ == data.__name__
    ]
    drawing = {kind for kind in kinds if "__call__" in dir(kind) and not inspect.isabstract(kind)}
    assert drawing - {data.Sampler} == set(map(type, SAMPLERS))


class Rotated(nn.Module):
    """A layer with a matrix that stays on the CPU, which the meta device itself does not mind."""

    def forward(self, x):
        return x @ torch.eye(x.shape[-1], device=CPU)


def test_a_tensor_left_on_the_cpu_is_found():
    with pytest.raises(RuntimeError, match="meets tensors on"):
        run_on_meta(G=lambda: nn.Sequential(nn.Linear(2, 2), Rotated()))


def test_players_on_two_devices_are_an_error():
    G, D = (Ensemble(lambda: mlp(2, 2), 2, device=device) for device in (META, CPU))
    with pytest.raises(ValueError, match=r"one device, not on \['cpu', 'meta'\]"):
        trained(G, D)


def test_an_ensemble_of_networks_lives_where_they_live():
    assert Ensemble.of([nn.Linear(2, 2)]).network.weight.device == CPU
    assert Ensemble.of([nn.Linear(2, 2)], device=META).network.weight.is_meta
    assert Ensemble.of([nn.Tanh()])(numbers(1, 2, 2)).device == CPU
