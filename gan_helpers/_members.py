"""Members as plain networks: copied, and run one after the other."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.lazy import LazyModuleMixin

from gan_helpers.randomness import Stream

# By name, since torch loads its compiler only when it is asked for.
WRAPPERS = {"DataParallel", "DistributedDataParallel", "OptimizedModule", "RecursiveScriptModule"}


@contextmanager
def drawn_from(seed: int, device: torch.device) -> Iterator[None]:
    """Draw torch's global random numbers from ``seed``, and leave its streams as they were."""
    others = [] if device.type in ("cpu", "meta") else [device]
    with torch.random.fork_rng(others, device_type=device.type if others else "cuda"):
        # Not torch.manual_seed, which would reseed every accelerator too.
        torch.default_generator.manual_seed(seed)
        if others:
            torch.get_device_module(device).manual_seed(seed)
        yield


def values(network: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and buffers of a network by name, those that two layers share once."""
    return dict(chain(network.named_parameters(), network.named_buffers()))


def refuse_unlike(members: Sequence[nn.Module]) -> None:
    """Check that networks can be copied, and that their weights can be stacked.

    Raises:
        TypeError: if a layer keeps weights that are computed by a hook, has none yet, or is a wrapper.
        ValueError: if the networks differ in architecture.
    """
    for layer in chain.from_iterable(member.modules() for member in members):
        if type(layer).__name__ in WRAPPERS:
            raise TypeError(f"{type(layer).__name__} is a wrapper: give the network that is in it.")
        if isinstance(layer, LazyModuleMixin) and layer.has_uninitialized_params():
            raise TypeError(
                f"{type(layer).__name__} has no weights before its first call: give its sizes, as Linear "
                "takes them, or call each network once and use Ensemble.of."
            )
        for hook in layer._forward_pre_hooks.values():
            if type(hook).__module__.startswith("torch.nn.utils."):
                raise TypeError(
                    f"{type(layer).__name__} has a hook, {type(hook).__name__}, that computes its weights: "
                    "take torch.nn.utils.parametrizations instead, where all but spectral_norm needs "
                    "stacked=False, or after pruning call torch.nn.utils.prune.remove."
                )
    for k, member in enumerate(members):
        for one, other in ((members[0], member), (member, members[0])):
            if str(one) != str(other):
                raise _unlike(k, "their layers are others")
            found = values(other)
            for name, value in values(one).items():
                kinds = [
                    "missing"
                    if v is None
                    else f"{v.dtype} {tuple(v.shape)}" + ", frozen" * (not v.requires_grad)
                    for v in (found.get(name), value)
                ]
                if kinds[0] != kinds[1]:
                    raise _unlike(k, f"{name} is {kinds[0]} and {kinds[1]}")


def _unlike(k: int, how: str) -> ValueError:
    return ValueError(
        f"members differ in architecture, the first and that of index {k}: {how}. "
        "An ensemble stacks networks of one architecture."
    )


def emptied(member: nn.Module) -> nn.Module:
    """Return a copy of a network on the CPU that keeps all but the numbers in its weights and buffers."""
    plain = copy.deepcopy(member)
    for value in values(plain).values():
        value.data = torch.empty(0, device="cpu")
    return plain


def filled(plain: nn.Module, weights: dict[str, Tensor]) -> nn.Module:
    """Return a copy of what `emptied` returned, with copies of these weights on the CPU."""
    plain = copy.deepcopy(plain)
    for name, value in values(plain).items():
        value.data = weights[name].detach().cpu().clone()  # which keeps the precision
    return plain


# One after the other


class InTurn(nn.Module):
    """K networks that run one after the other; their weights are stacked as in an ensemble."""

    def __init__(self, plain: list[nn.Module], members: Sequence[nn.Module], stream: Stream) -> None:
        super().__init__()
        self._plain, self._stream = plain, stream  # a list: the networks are no children of this module
        self._firsts = _first_names(plain[0])
        for name, parameter in members[0].named_parameters():
            stack = torch.stack([member.get_parameter(name).detach() for member in members])
            place, key = self._place(name)
            place.register_parameter(key, nn.Parameter(stack, requires_grad=parameter.requires_grad))
        for name, _ in members[0].named_buffers():
            place, key = self._place(name)
            place.register_buffer(key, torch.stack([member.get_buffer(name) for member in members]))

    def _place(self, name: str) -> tuple[nn.Module, str]:
        """Return the module that holds what has this name, made if it is missing, and its key there."""
        place: nn.Module = self
        *path, key = name.split(".")
        for part in path:
            if part not in place._modules:
                place.add_module(part, nn.Module())
            place = place._modules[part]  # type: ignore[assignment]
        return place, key

    def train(self, mode: bool = True) -> InTurn:
        """Set the mode of the members too."""
        for plain in self._plain:
            plain.train(mode)
        return super().train(mode)

    def forward(self, *inputs: Tensor) -> Any:
        if not self.training or inputs[0].is_meta:
            return self._answers(inputs)
        with drawn_from(int(self._stream.integers(2**62)), inputs[0].device):
            return self._answers(inputs)

    def _answers(self, inputs: tuple[Tensor, ...]) -> Any:
        weights = {name: value.unbind() for name, value in self.named_parameters()}
        buffers = dict(self.named_buffers())
        answers = []
        for k, plain in enumerate(self._plain):
            mine = {name: value[k] for name, value in buffers.items()}
            found = {**{name: value[k] for name, value in weights.items()}, **mine}
            state = {name: found[first] for name, first in self._firsts.items()}
            # Torch's own tying leaves tensors of this call in a layer that is used twice.
            answers.append(functional_call(plain, state, tuple(x[k] for x in inputs), tie_weights=False))
            for name, value in mine.items():
                if state[name] is not value:  # a new tensor was put in the buffer's place
                    buffers[name][k] = state[name].detach()
        return _joined(answers)


def _first_names(network: nn.Module) -> dict[str, str]:
    """Return the names of all weights and buffers, those that layers share too, and the first of each."""
    names: dict[str, str] = {}
    places: dict[int, str] = {}
    for path, layer in network.named_modules():
        for name, value in chain(layer.named_parameters(path, False), layer.named_buffers(path, False)):
            names[name] = places.setdefault(id(value), name)
    return names


def _joined(answers: list[Any]) -> Any:
    """Stack the outputs of all members, those of several outputs one by one."""
    if isinstance(answers[0], Tensor):
        return torch.stack(answers)
    if isinstance(answers[0], tuple | list):
        return tuple(_joined(list(parts)) for parts in zip(*answers, strict=True))
    raise TypeError(f"A member must return a tensor or a tuple of tensors, not {type(answers[0]).__name__}.")
