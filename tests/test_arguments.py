"""What every public function and class of the package says to arguments that it can't take.

Each is called with good values, found by the names of its arguments. Every argument is then replaced by bad
values, which follow from what the good one is: another type, no number, a negative one, an empty tensor,
another shape, NaN. The answer has to be a TypeError or a ValueError of the package's own that names the
argument and what it got. An argument for which there is no good value is a failure.
"""

from __future__ import annotations

import importlib
import inspect
import math
import pkgutil
import re
import traceback
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import RidgeClassifier
from torch import Tensor, nn

import gan_helpers
from gan_helpers import classifier, data, divergences, losses, mnist, models
from gan_helpers.ensemble import Ensemble
from gan_helpers.randomness import Stream
from tests.reliability import Reached, measured

PACKAGE = Path(gan_helpers.__file__).parent

#: Modules with tests of their own for what they refuse: long programs, and files that others have made.
ELSEWHERE = {
    "albums", "animation", "architectures", "calibration", "checkpoint_files", "checkpoints", "describing",
    "equal", "files", "games", "generators", "history", "interrupts", "judging", "keeping", "labels", "pairs",
    "plots", "processes", "recipes", "recording", "report_pages", "results", "rivals", "shares", "snapshots",
    "splitting", "states", "training", "units", "your_data",
}  # fmt: skip
#: What the package returns, and nobody else makes.
RESULTS = {
    "divergences.Plan", "divergences.Prices",
    "image_metrics.DensityCoverage", "image_metrics.Nearest", "metrics.ClassifierTest", "metrics.GaussianFit",
    "metrics.MMDTest", "metrics.Moments", "mnist.Mnist", "mode_metrics.ModeCounts",
}  # fmt: skip

LINE = torch.linspace(-1, 1, 12).view(2, 6)  # (seeds, n)
PLANE = torch.linspace(-1, 1, 40).sin().view(2, 10, 2)  # (seeds, n, features)
POINTS = torch.linspace(-3, 3, 20).cos().view(10, 2)
OTHERS = torch.linspace(-2, 4, 20).sin().view(10, 2)
LOGITS = torch.linspace(-1, 1, 6).view(2, 3, 1)
PIXELS = torch.linspace(0, 1, 3 * 784).view(3, 784)
DIGITS = mnist.Digits(PIXELS, torch.tensor([1, 2, 3]))
EYES = torch.eye(2).expand(2, 2, 2)
CPU = torch.device("cpu")
FILE = mnist.BUNDLED[1]
JUDGE = classifier.load(CPU)
MINIBATCHES = data.Minibatches(POINTS)
NET = Ensemble(lambda: models.mlp(2, 3, 1), 2, device=CPU)
NORMAL = data.Normal(4.0, 1.25)
RNG = Stream("test", 0)
KL = divergences.DIVERGENCES["KL"]
HALVES = torch.tensor([0.5, 0.5])

#: Whose methods are called.
INSTANCES: list[Any] = [
    KL,
    JUDGE, MINIBATCHES, NET, NORMAL, RNG, data.Gaussian(torch.zeros(2), torch.eye(2)), data.Resample(POINTS),
    data.Sinusoids(8), data.StandardNormal(2), data.Uniform(0.0, 1.0), data.ring(),
    models.Maxout(2, 3, 2), models.MinibatchDiscrimination(2, 3, 2), models.Standardise(4.0, 1.25),
]  # fmt: skip


def run(seeds: int, seed: int) -> dict[str, Tensor]:
    """Return the columns of a table."""
    return {"x": torch.zeros(seeds)}


#: Good values: by the argument's name, for one module, or for one function. Else its default is one.
GOOD: dict[str, Any] = {
    # By name
    "c": 0.1, "clip": 0.1, "penalty": 1.0,
    "A": torch.eye(2), "D": NET, "activation": nn.ELU, "at_least": 1, "b": torch.zeros(2), "bandwidth": 1.0,
    "batch": 3, "cache": Path("folder"), "checksum": "0" * 64, "classifier": JUDGE, "cov1": EYES,
    "cov2": EYES, "covariance": torch.eye(2), "data": POINTS, "device": CPU, "devices": [CPU],
    "digits": DIGITS, "dimensions": 2, "ensemble": 1, "epochs": 1, "fan_in": 2, "fan_out": 1, "features": 2,
    "file": FILE, "files": [FILE], "first": 7, "folder": PACKAGE / "assets", "gamma": 0.1, "held_out": OTHERS,
    "high": 14.0, "holds": torch.tensor([True]),
    "images": PIXELS, "in_features": 2, "k": 1, "kernels": 3, "labels": DIGITS.labels, "like": PIXELS,
    "low": -6.0,
    "mean": 4.0, "mean1": torch.zeros(2, 2), "mean2": torch.zeros(2, 2), "means": POINTS,
    "member": lambda: models.mlp(2, 3, 1), "members": [nn.Linear(2, 1)], "mirrors": mnist.MIRRORS,
    "n": 3, "name": "data", "out_features": 3, "p": NORMAL.density,
    "path": PACKAGE / "assets" / classifier.WEIGHTS, "permutations": 3, "pieces": 2, "probability": 0.5,
    "psi": LINE, "q": NORMAL.density, "rng": RNG, "run": run, "sd": 1.25, "seed": 0, "seeds": 2,
    "shape": (2, 3), "shares": torch.tensor([[0.5, 0.5]]), "size": 4, "step": 0.1, "steps": 2,
    "text": "it holds", "theta": LINE, "train": POINTS, "u": LINE,
    "values": torch.tensor([1.0]), "x": PLANE, "y": OTHERS, "*inputs": (PLANE, PLANE), "*shape": (2, 3),
    "*sizes": (2, 3, 1),
    # For a module
    "divergences(fake)": LOGITS, "divergences(real)": LOGITS,
    "divergences(p)": HALVES, "divergences(q)": HALVES,
    "image_metrics(real)": POINTS, "losses(fake)": LOGITS, "losses(real)": LOGITS, "metrics(target)": NORMAL,
    "mode_metrics(target)": data.ring(), "penalties(fake)": PLANE,
    # For a function
    "tables.ledger(name)": "fifty_lines_original",
    "data.Density.density(x)": LINE.unsqueeze(2),
    "data.Gaussian(mean)": torch.zeros(2),
    "data.Minibatches.load_state(state)": MINIBATCHES.state(),
    "data.Normal.log_prob(x)": LINE.unsqueeze(2),
    "data.Uniform.log_prob(x)": LINE.unsqueeze(2),
    "downloads.read(path)": PACKAGE / "assets" / f"{FILE.name}.gz",
    "divergences.FDivergence(conjugate)": KL.conjugate,
    "divergences.FDivergence(f)": KL.f,
    "divergences.FDivergence(output)": KL.output,
    "divergences.FDivergence.critic(log_ratio)": LOGITS,
    "divergences.FDivergence.exact(p)": NORMAL.density,
    "divergences.FDivergence.exact(q)": NORMAL.density,
    "divergences.kantorovich(points)": torch.tensor([0.0, 1.0]),
    "divergences.mmd2(y)": PLANE,
    "divergences.transport(points)": torch.tensor([0.0, 1.0]),
    "divergences.witness(at)": PLANE,
    "divergences.witness(y)": PLANE,
    "image_metrics.class_kl(real)": torch.tensor([0.5, 0.5]),
    "image_metrics.class_shares(labels)": torch.tensor([[1, 2], [0, 1]]),
    "metrics.classifier_two_sample_test(classifier)": RidgeClassifier(),
    "metrics.classifier_two_sample_test(x)": POINTS,
    "metrics.ks(x)": LINE,
    "metrics.mmd(x)": POINTS,
    "metrics.moments(x)": LINE,
    "metrics.w1(x)": LINE,
    "metrics.w1_points(y)": PLANE,
    "mnist.load(name)": "mnist",
    "models.decorate(x)": LOGITS,
    "models.pack(m)": 2,
    "options.Checkpointing.of(checkpoint)": Path("file"),
    "options.Watch(function)": len,
    "options.Watch.of(watch)": len,
    "ensemble.Ensemble.widened(values)": NET.values(),
    "randomness.Stream(members)": None,
    "randomness.Stream.integers(high)": 3,
    "randomness.Stream.load_state(state)": RNG.state(),
    "randomness.Stream.uniform(high)": 1.0,
    "randomness.Stream.uniform(low)": 0.0,
    "unrolling.unrolled(d_loss)": losses.minimax_d,
    "unrolling.unrolled(g_loss)": losses.minimax_g,
    "unrolling.unrolled(rate)": 0.1,
}  # fmt: skip

#: Values that look bad and are not. NaN is passed on where whoever trains looks for it in the losses.
FINE = "|".join((
    r".*\((seed|first|\*shape): zero\)", r".*\.member\(k: zero\)", r"classifier\.fit\(seed: None\)",
    r"(divergences|losses|models|penalties)\.[\w.]+\((at|x|y|real|fake|log_ratio): NaN\)",
    r".*\(\*inputs: NaN\)",
    r"data\..*\.(log_prob|density|cdf|quantile)\(.*: (NaN|an axis less)\)",
    r".*\.(DigitClassifier\.forward|Digits)\(.*: NaN\)", r".*\.keep\(like: (NaN|an axis less)\)",
    r"divergences\.FDivergence\.critic\(log_ratio: an axis less\)", r"dirac\.play_wasserstein\(clip: None\)",
    r"losses\.(minimax|non_saturating|least_squares|wasserstein)_g\(fake: an axis less\)",
    r"(classifier|models)\.\w+\.(forward|predict|features)\(.*: an axis less\)",
    r".*\.(w2_gaussian|binarise)\(.*: an axis less\)", r"device\.choose_device\(devices: None\)",
    r"options\.Watch.*None\)", r"claims\.claim\((holds: (a list|an axis less)|values: .*)\)",
    r"mxnet_backend\.array\(values: (whole numbers|empty|an axis less|NaN)\)",
))  # fmt: skip

#: What an argument is called in messages, if not by its name.
NAMED = {
    "data.Gaussian.from_transform(b)": "mean", "options.Checkpointing(path)": "checkpoint",
    "options.Watch(function)": "watch", "penalties.r2(fake)": "x",
}  # fmt: skip


def add_mxnet() -> None:
    """Add good values for the MXNet backend."""
    from gan_helpers import mxnet_backend as gm

    plane, cpu = gm.array(PLANE), gm.mx.cpu()
    G, D = (gm.Ensemble(lambda n=n: gm.mlp(2, 3, n), 2, name=name) for name, n in (("G", 2), ("D", 1)))
    INSTANCES.append(D)
    values = {
        "D": D, "G": G, "x": plane, "real": gm.array(LOGITS), "fake": gm.array(LOGITS), "device": cpu,
        "devices": [cpu], "member": lambda: gm.mlp(2, 3, 1), "members": [D.member(0)], "activation": 0.2,
        "*inputs": (plane, plane), "data": data.StandardNormal(2), "noise": data.StandardNormal(2),
        "network": D, "like": plane, "lr": 1e-3, "d_opt": gm.adam(D, 1e-3), "g_opt": gm.adam(G, 1e-3),
        "steps": 1, "sd": 0.02, "d_loss": lambda G, D, x, z: gm.minimax_d(*D(x, G(z).detach())), "ema": 0.9,
        "turns": gm.Turns(), "g_loss": lambda G, D, x, z: gm.minimax_g(D(G(z))), "watch": lambda G: {},
        "progress": False,
    }  # fmt: skip
    GOOD.update({f"mxnet_backend({name})": value for name, value in values.items()})
    GOOD.update({"mxnet_backend.array(values)": PLANE, "mxnet_backend.tensor(values)": plane})


if find_spec("mxnet"):
    add_mxnet()


# What is called


def public() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield all that a reader may call: functions, classes, and the methods of an instance."""
    left_out = ELSEWHERE if find_spec("mxnet") else {*ELSEWHERE, "mxnet_backend"}
    for module in pkgutil.iter_modules(gan_helpers.__path__):
        if module.name.startswith("_") or module.name in left_out:
            continue
        contents = importlib.import_module(f"gan_helpers.{module.name}")
        for name, thing in vars(contents).items():
            home = getattr(thing, "__module__", None) or ""
            if name.startswith("_") or not f"{home}.".startswith(f"{contents.__name__}."):
                continue
            if inspect.isfunction(inspect.unwrap(thing)) and name != "main":
                yield f"{module.name}.{name}", thing
            elif inspect.isclass(thing) and f"{module.name}.{name}" not in RESULTS:
                if not issubclass(thing, Exception) and not getattr(thing, "_is_protocol", False):
                    yield from ((f"{module.name}.{k}", v) for k, v in methods(name, thing))


def methods(name: str, kind: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield a class and its own public methods; an abstract class has methods alone."""
    abstract = inspect.isabstract(kind)
    if not abstract:
        yield name, kind
    for method, value in vars(kind).items():
        if method.startswith("_") and (method != "__call__" or abstract):
            continue
        if isinstance(value, classmethod):
            yield f"{name}.{method}", getattr(kind, method)
        elif inspect.isfunction(inspect.unwrap(value)) and not getattr(value, "__isabstractmethod__", False):
            yield f"{name}.{method}", getattr(next(i for i in INSTANCES if isinstance(i, kind)), method)


FUNCTIONS = dict(public())


def good_values(name: str) -> dict[str, Any]:
    """Return a good value for each argument of a function; names of spread ones start with a star."""
    found = {}
    for key, parameter in inspect.signature(FUNCTIONS[name]).parameters.items():
        argument = f"*{key}" if parameter.kind is parameter.VAR_POSITIONAL else key
        known = [f"{name}({argument})", f"{name.split('.')[0]}({argument})", argument]
        found[argument] = next((GOOD[k] for k in known if k in GOOD), parameter.default)
        assert found[argument] is not parameter.empty, f"GOOD needs a value for {name}({argument})"
    return found


def called(name: str, /, **changed: Any) -> Any:
    """Call a function with good values but for those that are given."""
    bound = inspect.signature(FUNCTIONS[name]).bind_partial()
    bound.arguments.update({k.lstrip("*"): v for k, v in {**good_values(name), **changed}.items()})
    result = FUNCTIONS[name](*bound.args, **bound.kwargs)
    return list(result) if isinstance(result, Iterator) else result


# What is tried


def bad_values(good: Any) -> dict[str, Any]:
    """Return values to put in the place of a good one, by what they are."""
    if isinstance(good, bool):
        return {}
    if isinstance(good, int):
        return {"text": "3", "a fraction": 1.5, "True": True, "zero": 0, "minus one": -1, "None": None}
    if isinstance(good, float):
        return {"text": "1", "NaN": math.nan, "infinity": math.inf, "True": True, "None": None}
    if isinstance(good, str | Path):
        return {"a number": 3, "None": None}
    if isinstance(good, torch.device):
        return {"a number": 3, "no device": "abacus", "None": None}
    if not isinstance(good, Tensor):
        return {"a number": 3, "text": "text", "None": None}
    bad = {"a list": good.tolist(), "None": None, "empty": good[:0], "an axis less": good[0]}
    if good.is_floating_point():
        return bad | {"whole numbers": good.long(), "NaN": torch.full_like(good, math.nan)}
    return bad | {"fractions": good.float()}


def cases() -> Iterator[tuple[str, str, str, Any]]:
    """Yield every bad value: of which function, for which argument, what it is, and the value."""
    for name, function in FUNCTIONS.items():
        parameters = inspect.signature(function).parameters
        for argument, good in good_values(name).items():
            spread = argument.startswith("*")
            optional = parameters[argument.lstrip("*")].default is None
            for what, bad in bad_values(good[0] if spread else good).items():
                if not re.fullmatch(FINE, f"{name}({argument}: {what})") and not (bad is None and optional):
                    yield name, argument, what, (bad, *good[1:]) if spread else bad


def refusal(name: str, /, **changed: Any) -> Exception | None:
    """Return the error that a call ends in, if it is one of ours."""
    try:
        called(name, **changed)
    except (TypeError, ValueError) as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        assert Path(last.filename).is_relative_to(PACKAGE), f"raised by {last.filename}: {error}"
        return error
    return None


def names_value(message: str, value: Any) -> bool:
    """Whether a message says what it got."""
    if isinstance(value, tuple):  # what is spread
        value = value[0]
    words = {repr(value), str(value), type(value).__name__}
    if isinstance(value, float):
        words.add(f"{value:g}")
    if isinstance(value, Tensor):
        words = {str(tuple(value.shape)), str(value.dtype), "not finite", "nan"}
    return any(word in message for word in words)


def complaint(name: str, argument: str, bad: Any) -> str | None:
    """Return what is wrong with the answer to a bad value."""
    shown = NAMED.get(f"{name}({argument})", argument.lstrip("*"))
    try:
        error = refusal(name, **{argument: bad})
    except Exception as other:
        return f"{type(other).__name__}: {str(other)[:150]}"
    if error is None:
        return "taken without a word"
    if not re.search(rf"\b{shown}\b", str(error)):
        return f"the argument is not named: {error}"
    return None if names_value(str(error), bad) else f"the value is not named: {error}"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_good_values_are_good(name: str) -> None:
    called(name)


@measured("arguments", "another type, size, sign, shape, or NaN, for each argument in turn", fast=1, slow=1)
def test_every_bad_value_is_refused_in_words_of_our_own(effort: int, reached: Reached) -> None:
    tried = {f"{name}({key}: {what})": complaint(name, key, bad) for name, key, what, bad in cases()}
    wrong = [f"{case}: {words}" for case, words in tried.items() if words]
    assert not wrong, f"{len(wrong)} of {len(tried)}:\n" + "\n".join(wrong)
    reached(f"{len(tried):,} of {len(tried):,} bad values of {len(FUNCTIONS)} functions")


# Shapes and numbers that nobody thought of

TENSORS = st.builds(
    lambda shape, kind, fill: torch.full(shape, fill).to(kind),
    st.lists(st.integers(0, 4), max_size=4).map(tuple),
    st.sampled_from((torch.float32, torch.float64, torch.long)),
    st.sampled_from((0.0, 1.0, -3.0, 1e30, math.nan, math.inf)),
)


@measured("arguments", "tensors of any shape and content, for each function", fast=10, slow=500)
def test_any_tensor_is_taken_or_refused_in_words_of_our_own(effort: int, reached: Reached) -> None:
    taken = []

    @settings(max_examples=effort)
    @given(st.data())
    def one(drawn: st.DataObject) -> None:
        for name in FUNCTIONS:
            tensors = [k for k, value in good_values(name).items() if isinstance(value, Tensor)]
            if tensors and name != "claims.claim":
                changed = {k: drawn.draw(TENSORS, label=f"{name}({k})") for k in tensors}
                taken.append(refusal(name, **changed) is None)

    one()
    reached(f"{len(taken):,} calls, of which {len(taken) - sum(taken):,} are refused and the others work")
