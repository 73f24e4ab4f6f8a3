"""What a network is made of, as text, and the network of such a text: code is never part of it.

A text names layers of a fixed list and the numbers that they are made from. What it describes is made without
memory for its weights, so that a hostile text can ask for nothing that its file does not hold.
"""

from __future__ import annotations

import inspect
import json
from typing import Any

import torch
from torch import Tensor, nn

from gan_helpers import _checks, models, units
from gan_helpers._stacking import ELEMENTWISE, STACKED

#: The layers that a text can name.
LAYERS: dict[str, type[nn.Module]] = {
    kind.__name__: kind
    for kind in (
        *STACKED, *ELEMENTWISE, nn.Dropout, nn.Flatten, nn.Unflatten, nn.Softmax,
        models.Maxout, models.MinibatchDiscrimination, models.Standardise, units.Shares,
    )
}  # fmt: skip

# No property of a layer, but where and in which precision it is made.
PLACE = {"self", "device", "dtype", "_weight", "_freeze"}

Made = dict[str, Any]


def described(network: nn.Module) -> str:
    """Return a text from which `built` makes the same layers.

    Args:
        network: `LAYERS` alone, in any number of ``nn.Sequential``.

    Raises:
        TypeError: if there is another layer, or one that is more than its class says.
    """
    text = json.dumps(_described(_checks.instance("network", network, nn.Module)))
    if _form(built(text)) != _form(network):
        raise TypeError("network has something that the numbers of its layers do not tell, such as a hook.")
    return text


def built(text: str) -> nn.Module:
    """Return the network that a text describes, without memory for its weights.

    Args:
        text: what `described` returned.

    Raises:
        TypeError: if it is no string.
        ValueError: if it names a layer that is not in `LAYERS`, or what it says of one can't be.
    """
    _checks.text("text", text)
    try:
        with torch.device("meta"):
            return _built(json.loads(text))
    except Exception as error:  # what a text that was made to do harm can do is not known
        raise ValueError(f"text does not describe a network that can be built ({error}).") from error


def with_weights(network: nn.Module, weights: dict[str, Tensor]) -> nn.Module:
    """Return a network that was `built`, with these weights.

    Args:
        network: that network.
        weights: all its weights and buffers by name.

    Raises:
        ValueError: if there are others, or they are of other shapes.
    """
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if expected != found:
        raise ValueError(f"weights must be of the shapes {expected}, not {found}.")
    network.load_state_dict(weights, assign=True)
    return network


def _described(layer: nn.Module) -> Made:
    kind = type(layer)
    if kind is nn.Sequential:
        return {"Sequential": [_described(child) for child in layer.children()]}
    if LAYERS.get(kind.__name__) is not kind:
        raise TypeError(
            f"network has a layer {kind.__name__}, which has no description: build it of "
            f"{', '.join(LAYERS)}, or keep the code that makes it and give load(path, member=...)."
        )
    given = [p for p in inspect.signature(kind).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    return {kind.__name__: {p.name: _told(layer, p.name) for p in given if p.name not in PLACE}}


def _told(layer: nn.Module, name: str) -> Any:
    """Return what a layer was made with."""
    value: Any = getattr(layer, name, None)
    if name == "bias":
        return value is not None
    if isinstance(layer, models.Maxout | models.MinibatchDiscrimination) and name == "in_features":
        return layer.linear.in_features
    return value


def _built(made: Made) -> nn.Module:
    ((name, told),) = made.items()
    if name == "Sequential":
        return nn.Sequential(*(_built(child) for child in told))
    return LAYERS[name](**{key: _tuples(value) for key, value in told.items()})


def _tuples(value: Any) -> Any:
    """Return lists as tuples, as layers keep them."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _form(network: nn.Module) -> tuple[str, dict[str, tuple[int, ...]], list[bool]]:
    """Return how a network is printed, the shapes of its weights, and whether layers have hooks."""
    hooks = [
        bool(layer._forward_hooks or layer._forward_pre_hooks or "forward" in vars(layer))
        for layer in network.modules()
    ]
    return str(network), {name: tuple(v.shape) for name, v in network.state_dict().items()}, hooks
