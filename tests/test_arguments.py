"""What every public function and class of the package says to arguments that it can't take.

Each has an entry with one good call. Every argument is then replaced by bad values, which follow from what
the good one is: another type, no number, a negative one, an empty tensor, another shape, NaN. The answer has
to be a TypeError or a ValueError of the package's own that names the argument and what it got. A function
without an entry, or an entry without one of the function's arguments, is a failure.
"""

from __future__ import annotations

import importlib
import inspect
import math
import pkgutil
import re
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import gan_helpers
from gan_helpers import (
    calibration,
    claims,
    classifier,
    data,
    device,
    dirac,
    image_metrics,
    losses,
    metrics,
    mnist,
    models,
    penalties,
    progress,
    randomness,
)
from gan_helpers.ensemble import Ensemble
from gan_helpers.randomness import Stream
from tests.reliability import Reached, measured

PACKAGE = Path(gan_helpers.__file__).parent

#: Modules with tests of their own for what they refuse: long programs, and files that others have made.
ELSEWHERE = {"animation", "checkpoints", "plots", "training"}
#: What the package returns, and nobody else makes.
RESULTS = {
    "claims.ClaimError",
    "image_metrics.DensityCoverage",
    "image_metrics.Nearest",
    "metrics.ClassifierTest",
    "metrics.GaussianFit",
    "metrics.MMDTest",
    "metrics.Moments",
    "mnist.Mnist",
    "mxnet_backend.History",
}


@dataclass(frozen=True)
class Call:
    """A good call.

    Args:
        function: what is called.
        arguments: by name; one whose name starts with * is spread.
        fine: bad values that are none here, as "argument: value".
        named: what an argument is called in messages, if not by its name.
    """

    function: Callable[..., Any]
    arguments: dict[str, Any] = field(default_factory=dict)
    fine: tuple[str, ...] = ()
    named: dict[str, str] = field(default_factory=dict)

    def __call__(self, **changed: Any) -> Any:
        named = {**self.arguments, **changed}
        spread = [part for name, parts in named.items() if name.startswith("*") for part in parts]
        result = self.function(*spread, **{k: v for k, v in named.items() if not k.startswith("*")})
        return list(result) if isinstance(result, Iterator) else result


def bad_values(good: Any) -> dict[str, Any]:
    """Return values to put in the place of a good one, by what they are."""
    if isinstance(good, bool):
        return {}
    if isinstance(good, int):
        return {"text": "3", "a fraction": 1.5, "True": True, "zero": 0, "minus one": -1, "None": None}
    if isinstance(good, float):
        return {"text": "1", "NaN": math.nan, "infinity": math.inf, "True": True, "None": None}
    if isinstance(good, Tensor):
        return _bad_tensors(good)
    if isinstance(good, str | Path):
        return {"a number": 3, "None": None}
    if isinstance(good, torch.device):
        return {"a number": 3, "no device": "abacus", "None": None}
    if isinstance(good, tuple | list):
        return {"a number": 3, "text": "text", "None": None}
    return {"a number": 3, "text": "text", "None": None}


def _bad_tensors(good: Tensor) -> dict[str, Tensor | list | None]:
    bad = {"a list": good.tolist(), "None": None}
    if good.dim():
        bad |= {"empty": good[:0], "an axis less": good[0]}
    if good.is_floating_point():
        return bad | {"whole numbers": good.long(), "NaN": torch.full_like(good, math.nan)}
    return bad | {"fractions": good.float()}


# The good calls

torch.manual_seed(0)
LINE = torch.linspace(-1, 1, 12).view(2, 6)  # (seeds, n)
PLANE = torch.linspace(-1, 1, 40).sin().view(2, 10, 2)  # (seeds, n, features)
POINTS = torch.linspace(-3, 3, 20).cos().view(10, 2)
OTHERS = torch.linspace(-2, 4, 20).sin().view(10, 2)
LOGITS = torch.linspace(-1, 1, 6).view(2, 3, 1)
PIXELS = torch.linspace(0, 1, 3 * 784).view(3, 784)
DIGITS = mnist.Digits(PIXELS, torch.tensor([1, 2, 3]))
RNG = Stream("test", 0)
CPU = torch.device("cpu")
NORMAL = data.Normal(4.0, 1.25)
NET = Ensemble(lambda: models.mlp(2, 3, 1), 2, device=CPU)
JUDGE = classifier.load(CPU)
SAMPLE = {"seeds": 2, "batch": 3, "rng": RNG}
PACKED = b"0123"
FILE = mnist.IdxFile("some.gz", (2, 3), 4, "0" * 64)
MINIBATCHES = data.Minibatches(POINTS)


def scalar(*losses_: str) -> tuple[str, ...]:
    """Return that NaN in these arguments is passed on: whoever trains looks for it in the losses."""
    return tuple(f"{name}: NaN" for name in losses_)


def of_points(function: Callable[[Tensor], Tensor], x: Tensor) -> Call:
    """Return a call of a density or the like, whose value at NaN is NaN, for any number of axes."""
    return Call(function, {"x": x}, ("x: NaN", "x: an axis less"))


def loss(function: Callable[..., Tensor], *names: str) -> Call:
    """Return a call of a loss; what is left of (seeds, batch, 1) may be (batch, 1)."""
    fine = ("NaN", "an axis less") if len(names) == 1 else ("NaN",)
    return Call(function, dict.fromkeys(names, LOGITS), tuple(f"{n}: {bad}" for n in names for bad in fine))


def unpacked(packed: bytes, file: mnist.IdxFile) -> None:
    """Call `mnist.unpack` with a file that is damaged: its arguments are looked at before."""
    try:
        mnist.unpack(packed, file)
    except ValueError as error:
        if "SHA-256" not in str(error):
            raise


def table(seeds: int, seed: int) -> dict[str, Tensor]:
    return {"x": torch.zeros(seeds)}


CALLS = {
    "calibration.Table": Call(calibration.Table, {"run": table, "seeds": 2, "ensemble": 1}),
    "calibration.ledger": Call(calibration.ledger, {"name": "fifty_lines_original"}),
    "calibration.rows": Call(
        calibration.rows,
        {"table": calibration.Table(table, 2), "seeds": 2, "ensemble": 1, "first": 7},
        ("first: zero",),
    ),
    "claims.claim": Call(
        claims.claim,
        {"text": "it holds", "holds": torch.tensor([True]), "at_least": 1, "values": torch.tensor([1.0])},
        ("holds: a list", "holds: an axis less", "values: *"),
    ),
    "classifier.DigitClassifier": Call(classifier.DigitClassifier),
    "classifier.DigitClassifier.forward": Call(
        JUDGE.forward, {"images": PIXELS}, ("images: NaN", "images: an axis less")
    ),
    "classifier.DigitClassifier.predict": Call(JUDGE.predict, {"images": PIXELS}, ("images: an axis less",)),
    "classifier.DigitClassifier.features": Call(
        JUDGE.features, {"images": PIXELS}, ("images: an axis less",)
    ),
    "classifier.accuracy": Call(classifier.accuracy, {"classifier": JUDGE, "digits": DIGITS}),
    "classifier.fit": Call(
        classifier.fit, {"digits": DIGITS, "epochs": 1, "batch": 3, "seed": 0}, ("seed: zero", "seed: None")
    ),
    "classifier.load": Call(
        classifier.load, {"device": CPU, "path": PACKAGE / "assets" / classifier.WEIGHTS}
    ),
    "data.Normal": Call(data.Normal, {"mean": 4.0, "sd": 1.25}),
    "data.Normal.__call__": Call(NORMAL, SAMPLE),
    "data.Normal.log_prob": of_points(NORMAL.log_prob, LINE.unsqueeze(2)),
    "data.Normal.cdf": of_points(NORMAL.cdf, LINE),
    "data.Normal.quantile": Call(NORMAL.quantile, {"u": LINE}, ("u: NaN", "u: an axis less")),
    "data.Uniform": Call(data.Uniform, {"low": 0.0, "high": 1.0, "features": 2}),
    "data.Uniform.__call__": Call(data.Uniform(0.0, 1.0), SAMPLE),
    "data.Uniform.log_prob": of_points(data.Uniform(0.0, 1.0).log_prob, LINE.unsqueeze(2)),
    "data.Uniform.cdf": of_points(data.Uniform(0.0, 1.0).cdf, LINE),
    "data.Uniform.quantile": Call(
        data.Uniform(0.0, 1.0).quantile, {"u": LINE}, ("u: NaN", "u: an axis less")
    ),
    "data.StandardNormal": Call(data.StandardNormal, {"features": 2}),
    "data.StandardNormal.__call__": Call(data.StandardNormal(2), SAMPLE),
    "data.StandardNormal.log_prob": of_points(data.StandardNormal(2).log_prob, PLANE),
    "data.Gaussian": Call(data.Gaussian, {"mean": torch.zeros(2), "covariance": torch.eye(2)}),
    "data.Gaussian.__call__": Call(data.Gaussian(torch.zeros(2), torch.eye(2)), SAMPLE),
    "data.Gaussian.from_transform": Call(
        data.Gaussian.from_transform, {"A": torch.eye(2), "b": torch.zeros(2)}, named={"b": "mean"}
    ),
    "data.Gaussian.log_prob": of_points(data.Gaussian(torch.zeros(2), torch.eye(2)).log_prob, PLANE),
    "data.GaussianMixture": Call(data.GaussianMixture, {"means": POINTS, "sd": 0.1}),
    "data.GaussianMixture.__call__": Call(data.ring(), SAMPLE),
    "data.GaussianMixture.log_prob": of_points(data.ring().log_prob, PLANE),
    "data.Density.density": of_points(NORMAL.density, LINE.unsqueeze(2)),
    "data.ring": Call(data.ring, {"modes": 8, "radius": 1.0, "sd": 0.01}),
    "data.grid": Call(data.grid, {"side": 5, "spacing": 2.0, "sd": 0.05}),
    "data.Sinusoids": Call(
        data.Sinusoids,
        {"points": 8, "low": -5.0, "high": 5.0, "frequency": (0.5, 2.0), "phase": (0.0, 3.0)},
    ),
    "data.Sinusoids.__call__": Call(data.Sinusoids(8), SAMPLE),
    "data.Resample": Call(data.Resample, {"data": POINTS}),
    "data.Resample.__call__": Call(data.Resample(POINTS), SAMPLE),
    "data.Minibatches": Call(data.Minibatches, {"data": POINTS}),
    "data.Minibatches.__call__": Call(MINIBATCHES, SAMPLE),
    "data.Minibatches.state": Call(MINIBATCHES.state),
    "data.Minibatches.load_state": Call(MINIBATCHES.load_state, {"state": MINIBATCHES.state()}),
    "device.probe": Call(device.probe, {"device": CPU}),
    "device.candidates": Call(device.candidates),
    "device.choose_device": Call(
        device.choose_device, {"devices": [CPU], "probe": device.probe}, ("devices: None",)
    ),
    "device.default_device": Call(device.default_device),
    "device.memory_advice": Call(device.memory_advice),
    "dirac.forces": Call(
        dirac.forces,
        {"theta": LINE, "psi": LINE, "non_saturating": False, "gamma": 0.1},
    ),
    "dirac.play": Call(
        dirac.play,
        {
            "theta": LINE,
            "psi": LINE,
            "step": 0.1,
            "steps": 2,
            "non_saturating": False,
            "gamma": 0.1,
            "alternating": False,
        },
    ),
    "dirac.eigenvalues": Call(dirac.eigenvalues, {"gamma": 0.1}),
    "dirac.largest_step": Call(dirac.largest_step, {"gamma": 0.1}),
    "ensemble.Ensemble": Call(
        Ensemble,
        {"member": lambda: models.mlp(2, 3, 1), "seeds": 2, "name": "G", "seed": 0, "device": CPU},
        ("seed: zero",),
    ),
    "ensemble.Ensemble.of": Call(Ensemble.of, {"members": [nn.Linear(2, 1)], "device": CPU}),
    "ensemble.Ensemble.forward": Call(NET.forward, {"*inputs": (PLANE, PLANE)}, ("*inputs: NaN",)),
    "ensemble.Ensemble.member": Call(NET.member, {"k": 1}, ("k: zero",)),
    "ensemble.Ensemble.copy": Call(NET.copy),
    "ensemble.Ensemble.extra_repr": Call(NET.extra_repr),
    "image_metrics.class_shares": Call(
        image_metrics.class_shares, {"labels": torch.tensor([[1, 2], [0, 1]]), "classes": 3}
    ),
    "image_metrics.class_kl": Call(
        image_metrics.class_kl, {"shares": torch.tensor([[0.5, 0.5]]), "real": torch.tensor([0.5, 0.5])}
    ),
    "image_metrics.frechet_distance": Call(image_metrics.frechet_distance, {"x": PLANE, "real": POINTS}),
    "image_metrics.density_coverage": Call(
        image_metrics.density_coverage, {"x": PLANE, "real": POINTS, "k": 3}
    ),
    "image_metrics.nearest": Call(image_metrics.nearest, {"x": PLANE, "real": POINTS}),
    "image_metrics.copying": Call(image_metrics.copying, {"x": PLANE, "train": POINTS, "held_out": OTHERS}),
    "losses.minimax_d": loss(losses.minimax_d, "real", "fake"),
    "losses.minimax_g": loss(losses.minimax_g, "fake"),
    "losses.non_saturating_g": loss(losses.non_saturating_g, "fake"),
    "losses.least_squares_d": loss(losses.least_squares_d, "real", "fake"),
    "losses.least_squares_g": loss(losses.least_squares_g, "fake"),
    "losses.wasserstein_d": loss(losses.wasserstein_d, "real", "fake"),
    "losses.wasserstein_g": loss(losses.wasserstein_g, "fake"),
    "losses.hinge_d": loss(losses.hinge_d, "real", "fake"),
    "losses.relativistic_d": loss(losses.relativistic_d, "real", "fake"),
    "losses.relativistic_g": loss(losses.relativistic_g, "real", "fake"),
    "metrics.moments": Call(metrics.moments, {"x": LINE}),
    "metrics.w1": Call(metrics.w1, {"x": LINE, "target": NORMAL}),
    "metrics.ks": Call(metrics.ks, {"x": LINE, "target": NORMAL}),
    "metrics.fit_gaussian": Call(metrics.fit_gaussian, {"x": PLANE}),
    "metrics.w2_gaussian": Call(
        metrics.w2_gaussian,
        {
            "mean1": torch.zeros(2, 2),
            "cov1": torch.eye(2).expand(2, 2, 2),
            "mean2": torch.zeros(2, 2),
            "cov2": torch.eye(2).expand(2, 2, 2),
        },
        tuple(f"{name}: an axis less" for name in ("mean1", "cov1", "mean2", "cov2")),
    ),
    "metrics.jsd": Call(metrics.jsd, {"p": NORMAL.density, "q": NORMAL.density, "low": -6.0, "high": 14.0}),
    "metrics.kl": Call(metrics.kl, {"p": NORMAL.density, "q": NORMAL.density, "low": -6.0, "high": 14.0}),
    "metrics.mmd": Call(
        metrics.mmd, {"x": POINTS, "y": OTHERS, "rng": RNG, "bandwidth": 1.0, "permutations": 3}
    ),
    "metrics.classifier_two_sample_test": Call(
        metrics.classifier_two_sample_test,
        {"x": POINTS, "y": OTHERS, "rng": RNG, "classifier": metrics._nearest_neighbours(10)},
    ),
    "mnist.IdxFile": Call(
        mnist.IdxFile, {"name": "some.gz", "shape": (2, 3), "size": 4, "checksum": "0" * 64}
    ),
    "mnist.Digits": Call(mnist.Digits, {"images": PIXELS, "labels": DIGITS.labels}, ("images: NaN",)),
    "mnist.load": Call(
        mnist.load,
        {"full": False, "device": CPU, "cache": Path("folder"), "mirrors": mnist.MIRRORS},
    ),
    "mnist.binarise": Call(mnist.binarise, {"images": PIXELS, "rng": RNG}, ("images: an axis less",)),
    "mnist.unpack": Call(unpacked, {"packed": PACKED, "file": FILE}),
    "models.mlp": Call(models.mlp, {"*sizes": (2, 3, 1), "activation": nn.ELU}),
    "models.dense": Call(models.dense, {"fan_in": 2, "fan_out": 1}),
    "models.Maxout": Call(models.Maxout, {"in_features": 2, "out_features": 3, "pieces": 2}),
    "models.Maxout.forward": Call(
        models.Maxout(2, 3, 2).forward, {"x": PLANE}, ("x: NaN", "x: an axis less")
    ),
    "models.Standardise": Call(models.Standardise, {"mean": 4.0, "sd": 1.25}),
    "models.Standardise.forward": of_points(models.Standardise(4.0, 1.25).forward, LINE),
    "models.Standardise.extra_repr": Call(models.Standardise(4.0, 1.25).extra_repr),
    "models.decorate": Call(models.decorate, {"x": LOGITS}, ("x: NaN",)),
    "penalties.squared_slopes": Call(penalties.squared_slopes, {"D": NET, "x": PLANE}, ("x: NaN",)),
    "penalties.r1": Call(penalties.r1, {"D": NET, "x": PLANE}, ("x: NaN",)),
    "penalties.r2": Call(penalties.r2, {"D": NET, "fake": PLANE}, ("fake: NaN",), {"fake": "x"}),
    "penalties.gradient_penalty": Call(
        penalties.gradient_penalty,
        {"D": NET, "x": PLANE, "fake": PLANE, "rng": RNG, "target": 1.0},
        scalar("x", "fake"),
    ),
    "progress.someone_is_watching": Call(progress.someone_is_watching),
    "randomness.base_seed": Call(randomness.base_seed),
    "randomness.Stream": Call(Stream, {"name": "data", "seed": 0, "device": CPU}, ("seed: zero",)),
    "randomness.Stream.normal": Call(RNG.normal, {"*shape": (2, 3)}, ("*shape: zero",)),
    "randomness.Stream.uniform": Call(
        RNG.uniform, {"*shape": (2, 3), "low": 0.0, "high": 1.0}, ("*shape: zero",)
    ),
    "randomness.Stream.integers": Call(
        lambda high, shape: RNG.integers(high, *shape), {"high": 3, "shape": (2,)}, ("shape: *",)
    ),
    "randomness.Stream.permutation": Call(RNG.permutation, {"n": 3}),
    "randomness.Stream.keep": Call(
        RNG.keep, {"probability": 0.5, "like": PIXELS}, ("like: an axis less", "like: NaN")
    ),
    "randomness.Stream.state": Call(RNG.state),
    "randomness.Stream.load_state": Call(RNG.load_state, {"state": RNG.state()}),
}


def mxnet_calls() -> dict[str, Call]:
    """Return the good calls of the MXNet backend, where it is installed."""
    if find_spec("mxnet") is None:
        return {}
    from gan_helpers import mxnet_backend as backend

    plane, logits, cpu = backend.array(PLANE), backend.array(LOGITS), backend.mx.cpu()
    G = backend.Ensemble(lambda: backend.mlp(2, 3, 2), 2, name="G")
    D = backend.Ensemble(lambda: backend.mlp(2, 3, 1), 2, name="D")
    trainers = [backend.adam(network, 1e-3) for network in (D, G)]
    draws = data.StandardNormal(2)
    calls = {
        "probe": Call(backend.probe, {"device": cpu}),
        "candidates": Call(backend.candidates),
        "choose_device": Call(backend.choose_device, {"devices": [cpu], "probe": backend.probe}),
        "default_device": Call(backend.default_device),
        "array": Call(
            backend.array,
            {"values": PLANE, "like": plane, "device": cpu},
            ("values: whole numbers", "values: empty", "values: an axis less", "values: NaN"),
        ),
        "tensor": Call(backend.tensor, {"values": plane}),
        "mlp": Call(backend.mlp, {"*sizes": (2, 3, 1), "activation": 0.2}),
        "Ensemble": Call(
            backend.Ensemble,
            {
                "member": lambda: backend.mlp(2, 3, 1), "seeds": 2, "name": "G", "seed": 0, "sd": 0.02,
                "device": cpu,
            },
            ("seed: zero",),
        ),
        "Ensemble.of": Call(backend.Ensemble.of, {"members": [D.member(0)]}),
        "Ensemble.weights": Call(D.weights),
        "Ensemble.forward": Call(D.forward, {"*inputs": (plane, plane)}),
        "Ensemble.slopes": Call(D.slopes, {"x": plane}),
        "Ensemble.member": Call(D.member, {"k": 1}, ("k: zero",)),
        "Ensemble.copy": Call(D.copy),
        "minimax_d": Call(backend.minimax_d, {"real": logits, "fake": logits}),
        "minimax_g": Call(backend.minimax_g, {"fake": logits}),
        "non_saturating_g": Call(backend.non_saturating_g, {"fake": logits}),
        "squared_slopes": Call(backend.squared_slopes, {"D": D, "x": plane}),
        "r1": Call(backend.r1, {"D": D, "x": plane}),
        "adam": Call(
            backend.adam, {"network": D, "lr": 1e-3, "betas": (0.9, 0.999)}
        ),
        "train": Call(
            backend.train,
            {
                "G": G, "D": D, "data": draws, "noise": draws,
                "d_loss": lambda G, D, x, z: backend.minimax_d(*D(x, G(z).detach())),
                "g_loss": lambda G, D, x, z: backend.minimax_g(D(G(z))),
                "d_opt": trainers[0], "g_opt": trainers[1], "steps": 1, "batch": 3, "reuse_noise": False,
                "ema": 0.9, "watch": lambda G: {}, "every": 1, "seed": 0, "progress": False,
            },
            ("seed: zero",),
        ),
    }  # fmt: skip
    return {f"mxnet_backend.{name}": call for name, call in calls.items()}


CALLS |= mxnet_calls()


# What is tried


def public() -> dict[str, Callable[..., Any]]:
    """Return all that a reader may call, by name: functions, classes, and their methods."""
    found: dict[str, Callable[..., Any]] = {}
    for module in pkgutil.iter_modules(gan_helpers.__path__):
        if module.name.startswith("_") or module.ispkg or module.name in ELSEWHERE:
            continue
        if module.name == "mxnet_backend" and find_spec("mxnet") is None:
            continue
        contents = importlib.import_module(f"gan_helpers.{module.name}")
        for name, thing in vars(contents).items():
            own = getattr(thing, "__module__", None) == contents.__name__ and not name.startswith("_")
            if own and inspect.isfunction(inspect.unwrap(thing)) and name != "main":
                found[f"{module.name}.{name}"] = thing
            if own and inspect.isclass(thing) and not getattr(thing, "_is_protocol", False):
                found |= {f"{module.name}.{k}": v for k, v in methods(name, thing).items()}
    return {name: thing for name, thing in found.items() if name not in RESULTS}


def methods(name: str, kind: type) -> dict[str, Callable[..., Any]]:
    """Return a class and its own public methods, by name; an abstract class has methods alone."""
    found = {} if inspect.isabstract(kind) else {name: kind}
    for method in vars(kind):
        is_call = method == "__call__" and not inspect.isabstract(kind)
        abstract = getattr(vars(kind)[method], "__isabstractmethod__", False)
        value = vars(kind)[method]
        is_method = inspect.isfunction(inspect.unwrap(value)) or isinstance(value, classmethod)
        if is_method and not abstract and (is_call or not method.startswith("_")):
            found[f"{name}.{method}"] = getattr(kind, method)
    return found


def cases() -> Iterator[tuple[str, str, str, Any]]:
    """Yield every bad value: of which call, for which argument, what it is, and the value."""
    for name, call in CALLS.items():
        for argument, good in call.arguments.items():
            optional = default(name, argument) is None
            if argument.startswith("*"):
                changed = {k: (bad, *good[1:]) for k, bad in bad_values(good[0]).items()}
            else:
                changed = bad_values(good)
            for what, bad in changed.items():
                fine = {f"{argument}: {what}", f"{argument}: *"} & set(call.fine)
                if not fine and not (what == "None" and optional):
                    yield name, argument, what, bad


def default(name: str, argument: str) -> Any:
    """Return the default of a function's argument, or something that is no value at all."""
    parameter = inspect.signature(public()[name]).parameters.get(argument.lstrip("*"))
    return inspect.Parameter.empty if parameter is None else parameter.default


def refusal(call: Callable[[], Any]) -> Exception | None:
    """Return the error that a call ends in, if it is one of ours."""
    try:
        call()
    except (TypeError, ValueError) as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        assert Path(last.filename).is_relative_to(PACKAGE), f"raised by {last.filename}: {error}"
        return error
    return None


def names_value(message: str, value: Any) -> bool:
    """Whether a message says what it got."""
    if isinstance(value, tuple) and value and isinstance(value[0], Tensor | list | type(None)):
        value = value[0]
    if isinstance(value, tuple) and len(value) > 1:
        value = value[0]
    words = {repr(value), str(value), type(value).__name__}
    if isinstance(value, float):
        words.add(f"{value:g}")
    if isinstance(value, Tensor):
        words = {str(tuple(value.shape)), str(value.dtype), "not finite", "nan"}
    return any(word in message for word in words)


@pytest.mark.parametrize("name", CALLS)
def test_the_good_call_is_good(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    CALLS[name]()


def test_every_public_function_and_all_its_arguments_have_an_entry() -> None:
    found = public()
    assert sorted(found) == sorted(CALLS)
    for name, thing in found.items():
        taken = [p for p in inspect.signature(thing).parameters if p != "self"]
        assert sorted(taken) == sorted(argument.lstrip("*") for argument in CALLS[name].arguments), name


@measured("arguments", "another type, size, sign, shape, or NaN, for each argument in turn", fast=1, slow=1)
def test_every_bad_value_is_refused_in_words_of_our_own(effort: int, reached: Reached) -> None:
    complaints, count = [], 0
    for name, argument, what, bad in cases():
        count += 1
        call = CALLS[name]
        shown = call.named.get(argument, argument.lstrip("*"))
        try:
            error = refusal(partial(call, **{argument: bad}))
        except Exception as other:
            complaints.append(f"{name}, {argument}, {what}: {type(other).__name__}: {str(other)[:150]}")
            continue
        if error is None:
            complaints.append(f"{name}, {argument}, {what}: taken without a word")
        elif not re.search(rf"\b{shown}\b", str(error)):
            complaints.append(f"{name}, {argument}, {what}: the argument is not named: {error}")
        elif not names_value(str(error), bad):
            complaints.append(f"{name}, {argument}, {what}: the value is not named: {error}")
    assert not complaints, f"{len(complaints)} of {count}:\n" + "\n".join(complaints)
    reached(f"{count:,} of {count:,} bad values of {len(CALLS)} functions")


# Shapes and numbers that nobody thought of

SHAPES = st.lists(st.integers(0, 4), max_size=4).map(tuple)
TENSORS = st.builds(
    lambda shape, kind, fill: torch.full(shape, fill, dtype=kind),
    SHAPES,
    st.sampled_from((torch.float32, torch.float64)),
    st.sampled_from((0.0, 1.0, -3.0, 1e30, math.nan, math.inf)),
) | st.builds(lambda shape: torch.zeros(shape, dtype=torch.long), SHAPES)
WITH_TENSORS = sorted(
    name
    for name, call in CALLS.items()
    if any(isinstance(value, Tensor) for value in call.arguments.values()) and name != "claims.claim"
)


@measured("arguments", "tensors of any shape and content, for each function", fast=10, slow=500)
def test_any_tensor_is_taken_or_refused_in_words_of_our_own(effort: int, reached: Reached) -> None:
    taken = []

    @settings(max_examples=effort)
    @given(st.data())
    def one(drawn: st.DataObject) -> None:
        for name in WITH_TENSORS:
            call = CALLS[name]
            tensors = [k for k, value in call.arguments.items() if isinstance(value, Tensor)]
            changed = {k: drawn.draw(TENSORS, label=f"{name}({k})") for k in tensors}
            taken.append(refusal(partial(call, **changed)) is None)

    one()
    reached(f"{len(taken):,} calls, of which {len(taken) - sum(taken):,} are refused and the others work")
