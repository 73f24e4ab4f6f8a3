"""Members are what they compute: networks alone are held against their stacked form."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gan_helpers._members import drawn_from
from gan_helpers._stacking import IN_TURN, Dropout

# How far rounding may move an output, as a share of the largest one. In double precision no threshold in a
# network falls on the other side; its own precision has a say only where it does not compute in that one.
PRECISIONS = {torch.float64: 1e-6, None: 1e-3}

Outputs = list[Tensor] | Exception


@torch.no_grad()
def compare(
    members: Mapping[int, nn.Module],
    stacked: nn.Module,
    inputs: Sequence[Tensor],
) -> bool:
    """Compare what networks return alone with what their stacked form returns; tell whether it was possible.

    Copies of the networks do the work, in double precision if they can. Nothing random takes part.

    Args:
        members: some members of an ensemble as plain networks, by number.
        stacked: their stacked form.
        inputs: what they get, each ``(members, batch, ...)``.

    Raises:
        TypeError: if they differ.
    """
    inputs = _with_different_rows(inputs)
    for precision, tolerance in PRECISIONS.items():
        together = _outputs(stacked, inputs, precision)
        for k, (number, member) in enumerate(members.items()):
            mine = [x[k] for x in inputs]
            alone = _outputs(member, mine, precision)
            if isinstance(together, Exception) and isinstance(alone, Exception):
                break  # what is wrong with the inputs is said by the call itself
            difference = _difference(k, together, alone, tolerance)
            # What is random in a way of its own differs from itself, and can't be compared.
            if difference and not _difference(None, alone, _outputs(member, mine, precision), tolerance):
                raise TypeError(
                    f"Member {number} alone {difference}. A member gets (batch, ...) alone and "
                    "(seeds, batch, ...) in an ensemble, and must do to each seed what it does alone. Count "
                    "axes from the last one, as in x.mean(-2), and take layers such as nn.BatchNorm1d, not "
                    f"functions that look across the batch; or {IN_TURN}."
                )
        else:
            return True
    return False


def _difference(k: int | None, together: Outputs, alone: Outputs, tolerance: float) -> str | None:
    """Say how what seed k of an ensemble returned differs from what its member returned alone, if it does."""
    if isinstance(together, Exception):
        return None if isinstance(alone, Exception) else f"works, and in the ensemble it fails: {together}"
    if isinstance(alone, Exception):
        return f"fails, and in the ensemble it works: {alone}"
    for stacked, answer in zip(together, alone, strict=True):
        if k is not None and stacked.shape[1:] != answer.shape:
            expected = ", ".join(map(str, ("seeds", *answer.shape)))
            return f"returns {tuple(answer.shape)}, but the ensemble {tuple(stacked.shape)}, not ({expected})"
        if not _alike(stacked if k is None else stacked[k], answer, tolerance):
            return "returns other numbers than its seed of the ensemble"
    return None


def _alike(one: Tensor, other: Tensor, tolerance: float) -> bool:
    """Tell whether outputs are equal but for rounding."""
    if not one.is_floating_point() or not one.numel():
        return torch.equal(one, other)
    scale = max(other.abs().nan_to_num(0, 0, 0).max().item(), 1e-3)
    return torch.allclose(one, other, rtol=tolerance, atol=tolerance * scale, equal_nan=True)


def _with_different_rows(inputs: Sequence[Tensor]) -> Sequence[Tensor]:
    """Return inputs that would show a mixing of samples: other ones if all rows are alike."""
    if any((x != x[:1, :1]).any() for x in inputs if x.is_floating_point()):
        return inputs
    if inputs[0].shape[1] == 1:
        inputs = [torch.cat([x, x], 1) for x in inputs]
    steps = [0.1 * torch.linspace(0, 1, x.numel(), device=x.device).view_as(x) for x in inputs]
    return [
        x + (step * (1 + x.abs())).to(x) if x.is_floating_point() else x
        for x, step in zip(inputs, steps, strict=True)
    ]


def _outputs(network: nn.Module, inputs: Sequence[Tensor], precision: torch.dtype | None) -> Outputs:
    """Return the outputs of a copy of a network, without dropout, or the error that it raises."""
    try:
        network = copy.deepcopy(network)
        if precision:
            network = network.to(precision)
            inputs = [x.to(precision) if x.is_floating_point() else x for x in inputs]
        for layer in network.modules():
            if isinstance(layer, nn.Dropout | Dropout):
                layer.eval()
        with drawn_from(0, inputs[0].device), _Fixed():  # type: ignore[no-untyped-call]
            return [out for out in tree_leaves(network(*inputs)) if isinstance(out, Tensor)]
    except Exception as error:  # of any kind: the code is the reader's
        return error


class _Fixed(TorchDispatchMode):
    """Random numbers are all the same ones, and come from no one's stream."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **kwargs)
        out = func(*args, **{name: None if name == "generator" else value for name, value in kwargs.items()})
        for drawn in tree_leaves(out):
            drawn.fill_(0.5 if drawn.is_floating_point() else 0)
        return out
