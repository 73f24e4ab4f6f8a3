r"""Ensembles, losses and training in MXNet, under the names that they have in torch.

This is the one place that imports MXNet. Its last release, 1.9.1, was written for an older NumPy, so NumPy
is lent its former names while MXNet is imported, and is then left as it was. Samplers are those of
`gan_helpers.data`, drawn from the same `Stream`: both frameworks can be given the same numbers. What comes
out for metrics, plots and claims is a torch tensor again.

MXNet differentiates twice for some operators only, and not always rightly. The slope of a discriminator,
which a penalty needs, is therefore written out in ordinary operators (`Ensemble.slopes`), and what is
written out can be differentiated once.

Raises:
    ModuleNotFoundError: in one sentence, at the import, if MXNet is not installed.
    TypeError: in all functions, if an argument is of the wrong type, such as a torch tensor for an NDArray.
    ValueError: in all functions, if an NDArray does not have the shape that is named, or a number is out of
        range.
"""

from gan_helpers.data import Gaussian, Minibatches, Resample, StandardNormal
from gan_helpers.history import History
from gan_helpers.mxnet_backend.arrays import (
    array,
    candidates,
    choose_device,
    default_device,
    probe,
    tensor,
)
from gan_helpers.mxnet_backend.importing import mx, nd
from gan_helpers.mxnet_backend.losses import minimax_d, minimax_g, non_saturating_g, r1, squared_slopes
from gan_helpers.mxnet_backend.networks import Ensemble, mlp
from gan_helpers.mxnet_backend.training import adam, train
from gan_helpers.options import Turns, Watch
from gan_helpers.randomness import Stream

__all__ = [
    "Ensemble", "Gaussian", "History", "Minibatches", "Resample", "StandardNormal", "Stream", "Turns",
    "Watch", "adam", "array", "candidates", "choose_device", "default_device", "minimax_d", "minimax_g",
    "mlp", "mx", "nd", "non_saturating_g", "probe", "r1", "squared_slopes", "tensor", "train",
]  # fmt: skip
