"""The import of MXNet 1.9.1 beside a NumPy and a Python that are newer than it."""

from __future__ import annotations

import importlib
import math
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import numpy as np
from packaging.version import Version

MISSING = (
    "MXNet 1.9.1 is not installed (the book runs it on Linux on x86-64 alone), so its chapter is skipped."
)

# What MXNet 1.9.1 takes from NumPy and newer releases lack. Those that are None it only passes on.
FORMER_NAMES: dict[str, Any] = {
    "bool": bool, "Inf": math.inf, "PINF": math.inf, "NINF": -math.inf, "PZERO": 0.0, "NZERO": -0.0,
    "NAN": math.nan, "NaN": math.nan, "alltrue": np.all, "sometrue": np.any, "product": np.prod,
    "in1d": np.isin, "msort": np.sort, "round_": np.round, "trapz": None, "mirr": None, "npv": None,
    "pmt": None, "ppmt": None, "pv": None, "rate": None,
}  # fmt: skip


def _former_distutils() -> dict[str, types.ModuleType]:
    """Return stand-ins for what MXNet takes from ``distutils``, where Python no longer has it."""
    if find_spec("distutils") is not None:
        return {}
    package, version = types.ModuleType("distutils"), types.ModuleType("distutils.version")
    vars(version).update(LooseVersion=Version, StrictVersion=Version)
    return {"distutils": package, "distutils.version": version}


@contextmanager
def as_it_was_then() -> Iterator[None]:
    """Lend NumPy and Python, for the time of an import, what they offered when MXNet 1.9.1 was written."""
    names = {name: value for name, value in FORMER_NAMES.items() if name not in vars(np)}
    modules = _former_distutils()
    vars(np).update(names)
    sys.modules.update(modules)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name in names:
            delattr(np, name)
        for name in modules:
            del sys.modules[name]


def _import_mxnet() -> Any:
    """Return MXNet.

    Raises:
        ModuleNotFoundError: in one sentence, if it is not installed; any other failure is passed on.
    """
    try:
        with as_it_was_then():
            mxnet = importlib.import_module("mxnet")
    except ModuleNotFoundError as error:
        if error.name != "mxnet":
            raise
        raise ModuleNotFoundError(MISSING, name="mxnet") from None
    # Before it makes an NDArray, MXNet asks whether the numbers are one of SciPy's sparse matrices, by a name
    # that SciPy warns about and will drop. Without SciPy it does not ask.
    mxnet.ndarray.utils.spsp = None
    return mxnet


mx: Any = _import_mxnet()
nd: Any = mx.nd
