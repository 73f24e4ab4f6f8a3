"""K independent networks as one module, stacked on a leading *seed axis*.

Training one small network leaves most of a processor idle. K of them, with their weights stacked, cost
little more: one batched product does the work of K small ones. No number ever passes from one member to
another, so an ensemble trains exactly as K separate runs would.

A member is written as an ordinary ``torch.nn`` module. `Ensemble` makes K of them, each from its own
random numbers, and puts a stacked layer in the place of each layer. Weights keep their names and get a
leading axis: ``weight`` of shape ``(out, in)`` becomes ``(seeds, out, in)``.

What a member does alone is what its seed does in the ensemble. The first call in training and the first in
evaluation check this: two members, as plain networks, are compared with the ensemble on its input. A network
that cannot be stacked joins with ``stacked=False``: its members run one after the other, which is slower, and
all else is the same.

One input of a member that takes several, such as noise and labels, is a tuple: ``G((z, y))`` calls each
member as ``member(z, y)``. Labels are whole numbers, ``(seeds, batch)``. A member may return a tuple too.
Without the inner brackets, ``D(x, y)`` means two calls, of ``D(x)`` and of ``D(y)``, in one pass.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gan_helpers import _checks, _comparison, _members
from gan_helpers._stacking import stacked as stack_of
from gan_helpers.device import default_device
from gan_helpers.randomness import Stream
from gan_helpers.shares import Share

Input = Tensor | tuple[Tensor, ...]


class Ensemble(nn.Module):
    """K independent networks with a leading seed axis; one network is an ensemble of one.

    Args:
        member: makes one network as a plain module, for example ``lambda: mlp(1, 50, 50, 1)``. Modules of
            your own are welcome if all that they do to the axes is counted from the last one.
        seeds: the number of members, K; or a `gan_helpers.shares.Share` of them, of which only those are
            made. Each of them starts, and is trained, as it would be beside the others.
        name: which stream of random numbers the weights come from. Two ensembles of the same name and
            seed start from the same numbers, so the two players have different names.
        seed: the seed of that stream; `gan_helpers.randomness.base_seed` unless given. Member k starts
            alike in every ensemble that has a member k, and on every device.
        device: where the weights live; `gan_helpers.device.default_device` unless given.
        stacked: False for members of any kind, which run one after the other. Random numbers that they draw
            from torch in training come from the ensemble's own stream.

    Raises:
        TypeError: if an argument is of the wrong type, or a layer of the member has no stacked form.
        ValueError: if ``seeds`` is below 1, there is no such device, or ``member`` returns one and the same
            network twice, or networks that differ in architecture.
    """

    def __init__(
        self,
        member: Callable[[], nn.Module],
        seeds: int | Share,
        *,
        name: str = "network",
        seed: int | None = None,
        device: torch.device | str | None = None,
        stacked: bool = True,
    ) -> None:
        super().__init__()
        if isinstance(member, nn.Module):
            raise TypeError(
                f"member must be a function that makes a network, not a network, {type(member).__name__}: "
                "write lambda: mlp(1, 4, 1), or Ensemble.of([network]) for one that exists."
            )
        _checks.function("member", member)
        _checks.text("name", name)
        share = seeds if isinstance(seeds, Share) else Share.whole(_checks.whole("seeds", seeds))
        if not (stacked or share.is_whole):
            raise ValueError(
                "stacked must be True for a share of the members: those that run one after the other draw "
                "from one stream in turn, and would miss the numbers of the others."
            )
        members = [_seeded(member, Stream(f"{name}/{k}", seed)) for k in range(share.first, share.stop)]
        if len({id(network) for network in members}) < len(share):
            raise ValueError("member must make a new network at each call, not return the same one again.")
        device = default_device() if device is None else device
        dropout = Stream(f"{name}/dropout", seed, device, None if share.is_whole else share)
        self._join(members, dropout, stacked)

    @classmethod
    def of(
        cls, members: Sequence[nn.Module], device: torch.device | str | None = None, *, stacked: bool = True
    ) -> Ensemble:
        """Return an ensemble of networks that exist already, all of one architecture.

        Args:
            members: the networks; they are copied.
            device: where the weights live; that of the first network unless given.
            stacked: False for networks of any kind, which run one after the other.

        Raises:
            TypeError: if an argument is of the wrong type, or a layer has no stacked form, or differs between
                the members in more than its weights.
            ValueError: if there is no member or device, or the members differ in architecture.
        """
        for i, member in enumerate(_checks.sequence("members", members)):
            _checks.instance(f"members[{i}]", member, nn.Module)
        if not members:
            raise ValueError("members is empty: an ensemble needs at least one network.")
        if device is None:
            device = next((p.device for p in members[0].parameters()), torch.device("cpu"))
        ensemble = cls.__new__(cls)
        nn.Module.__init__(ensemble)
        ensemble._join(members, Stream("network/dropout", device=device), stacked)
        return ensemble

    def _join(self, members: Sequence[nn.Module], dropout: Stream, stacked: bool) -> None:
        _members.refuse_unlike(members)
        self.seeds = len(members)
        self.dropout = dropout
        # A list hides the plain networks from `parameters()`: they are kept for all but their weights.
        self._plain = [_members.emptied(member) for member in members]
        self._takes = _count_of_inputs(members[0])
        self._compared = frozenset() if stacked else frozenset({True, False})  # while training, or not
        made = stack_of(members, dropout) if stacked else _members.InTurn(self._plain, members, dropout)
        self.network = made.to(dropout.device)
        self.train(members[0].training)

    def forward(self, *inputs: Input) -> Any:
        """Return the outputs for one input, or a tuple of the outputs for several.

        Several inputs go through the network in one pass, joined along the batch axis: faster than one
        after the other, and the same unless a layer looks across the batch, as batch normalisation does, or
        moves at each call, as spectral norm does.

        Args:
            inputs: one or more tensors of shape ``(seeds, batch, ...)``; for members that take several
                tensors, one or more tuples of such tensors, and of whole numbers such as labels.

        Raises:
            TypeError: if an input is not a floating-point tensor of the precision of the weights, a member
                takes another number of inputs, or at the first call a member alone does something else.
            ValueError: if there is no input, or one does not start with the seed axis or fit the layers.
        """
        if not inputs:
            raise ValueError("An ensemble needs at least one input of shape (seeds, batch, ...).")
        calls = [self._parts(f"inputs[{i}]", x) for i, x in enumerate(inputs)]
        if len(calls) == 1:
            return self._answer(calls[0])
        joined = [torch.cat(parts, 1) for parts in zip(*calls, strict=True)]
        return _apart(self._answer(joined), [parts[0].shape[1] for parts in calls])

    def _parts(self, name: str, x: Input) -> tuple[Tensor, ...]:
        """Return what a member gets in one call, if it is that."""
        parts, axes = (x, 2) if isinstance(x, tuple) else ((x,), 3)
        least, most = self._takes
        if not least <= len(parts) <= most:
            raise TypeError(
                f"{name} must hold {least} tensors, as a member takes them, not {len(parts)}: put what one "
                "call of a member gets into a tuple, G((z, y)). G(z, y) makes two calls, of G(z) and G(y)."
            )
        for j, part in enumerate(parts):
            label = f"{name}[{j}]" if isinstance(x, tuple) else name
            if axes == 3 or _checks.instance(label, part, Tensor).is_floating_point():
                _checks.floating(label, part, "(seeds, batch, ...)")
            if part.dim() < axes or part.shape[0] != self.seeds:
                raise ValueError(
                    f"{label} must have shape (seeds, batch, ...) with seeds = {self.seeds}, "
                    f"not {tuple(part.shape)}."
                )
        if len({part.shape[1] for part in parts}) > 1:
            raise ValueError(f"{name} must hold one batch, not {[tuple(part.shape) for part in parts]}.")
        return parts

    def _answer(self, inputs: Sequence[Tensor]) -> Any:
        known = self.training in self._compared
        if not (known or torch.compiler.is_compiling() or self._has_no_numbers(inputs)):
            some = sorted({0, self.seeds - 1})
            plain = {k: self.member(k).to(inputs[0].device) for k in some}
            stacked = stack_of(list(plain.values()), self.dropout).train(self.training)
            if _comparison.compare(plain, stacked, [x[some] for x in inputs]):
                self._compared |= {self.training}
        return self.network(*inputs)

    def _has_no_numbers(self, inputs: Sequence[Tensor]) -> bool:
        """Tell whether this is on the meta device, or in a transform such as ``torch.func.vmap``."""
        meta = any(tensor.is_meta for tensor in (*inputs, *self.network.parameters()))
        return meta or torch._C._functorch.peek_interpreter_stack() is not None

    @property
    def share(self) -> Share:
        """Which members of an ensemble these are; all, unless a share was asked for."""
        return self.dropout.members or Share.whole(self.seeds)

    @property
    def is_stacked(self) -> bool:
        """Whether the members run all at once, and not one after the other."""
        return not isinstance(self.network, _members.InTurn)

    @property
    def architecture(self) -> str:
        """What a member is, as its printed form tells it."""
        return str(self._plain[0])

    def member(self, k: int) -> nn.Module:
        """Return member ``k`` as a plain network with a copy of its weights, on the CPU.

        Args:
            k: which one, from 0 to ``seeds - 1``.

        Raises:
            TypeError: if k is not a whole number.
            ValueError: if there is no such member.
        """
        if _checks.whole("k", k, at_least=0) >= self.seeds:
            raise ValueError(
                f"k must be at most {self.seeds - 1}, not {k}: the ensemble has {self.seeds} members."
            )
        weights = {name: value[k] for name, value in _members.values(self.network).items()}
        return _members.filled(self._plain[k], weights).train(self.training)

    def values(self) -> dict[str, Tensor]:
        """Return the weights and buffers by the names that a member gives them, each with the seed axis."""
        return {name: value.detach() for name, value in _members.values(self.network).items()}

    def widened(self, values: dict[str, Tensor]) -> Ensemble:
        """Return an ensemble of all members, of which this one has a share.

        Args:
            values: the `values` of all shares, joined along the seed axis.

        Raises:
            TypeError: if ``values`` is no dictionary.
            ValueError: if it has not all weights and buffers, for as many members.
        """
        own = {name: value.shape[1:] for name, value in self.values().items()}
        given = {name: value.shape[1:] for name, value in _checks.instance("values", values, dict).items()}
        if own != given or len({len(value) for value in values.values()}) > 1:
            raise ValueError(f"values must hold {', '.join(own)} of all members, not {', '.join(given)}.")
        plain, count = self._plain[0], len(next(iter(values.values())))
        members = [
            _members.filled(plain, {name: value[k] for name, value in values.items()}) for k in range(count)
        ]
        dropout = Stream(self.dropout.name, self.dropout.seed, self.dropout.device)
        dropout.load_state(self.dropout.state())
        whole = type(self).__new__(type(self))
        nn.Module.__init__(whole)
        whole._join(members, dropout, self.is_stacked)
        whole._compared = self._compared
        for ours, theirs in zip(whole.parameters(), self.parameters(), strict=True):
            ours.requires_grad_(theirs.requires_grad)
        return whole.train(self.training)

    def copy(self) -> Ensemble:
        """Return an ensemble with the same weights that shares nothing with this one and is not trained."""
        return copy.deepcopy(self).requires_grad_(False)

    def extra_repr(self) -> str:
        """Say how many members there are."""
        return f"seeds={self.seeds}"


def _seeded(member: Callable[[], nn.Module], stream: Stream) -> nn.Module:
    """Make a member from the numbers of ``stream``; torch's global stream is left as it was."""
    with _members.drawn_from(stream.generator.initial_seed(), torch.device("cpu")), torch.device("cpu"):
        network = member()
    if not isinstance(network, nn.Module):
        raise TypeError(f"member must return a torch.nn.Module, not {type(network).__name__}.")
    return network


def _count_of_inputs(member: nn.Module) -> tuple[int, float]:
    """Return how many inputs a network needs at least, and takes at most."""
    given = [p for p in inspect.signature(member.forward).parameters.values() if p.kind != p.KEYWORD_ONLY]
    if any(p.kind == p.VAR_POSITIONAL for p in given):
        return 1, math.inf
    return sum(p.default is p.empty for p in given if p.kind != p.VAR_KEYWORD), len(given)


def _apart(outputs: Any, sizes: list[int]) -> tuple[Any, ...]:
    """Take the outputs for several inputs apart, those of several outputs one by one."""
    if isinstance(outputs, tuple):
        return tuple(zip(*(_apart(output, sizes) for output in outputs), strict=True))
    if not isinstance(outputs, Tensor):
        raise TypeError(f"A member must return a tensor or a tuple of tensors, not {type(outputs).__name__}.")
    if outputs.shape[1] != sum(sizes):
        raise ValueError(
            f"The outputs, {tuple(outputs.shape)}, are not one for each of {sum(sizes)} samples, and can't "
            "be taken apart: call the ensemble once for each input."
        )
    return tuple(outputs.split(sizes, 1))
