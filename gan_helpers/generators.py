r"""Trained generators without their training: saved, loaded elsewhere, sampled, exported.

.. math:: x = T^{-1}(G(z)), \qquad z \sim p_z

A file holds the weights of all members, the noise :math:`p_z`, the units T of the data, and what the members
make of four inputs. There is no code in it. Whoever loads it gets generators that make the same of these
four, or an error, be it on another device, with another version of torch, or with another network.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan_helpers import _checks, architectures
from gan_helpers.checkpoint_files import packed, read
from gan_helpers.data import Normal, StandardNormal, Uniform
from gan_helpers.device import default_device
from gan_helpers.ensemble import Ensemble
from gan_helpers.files import write_whole
from gan_helpers.randomness import Stream
from gan_helpers.states import CheckpointError, State
from gan_helpers.units import InUnits, Units

FORMAT = "gan_helpers generators, version 1"
NOISE = {kind.__name__: kind for kind in (Normal, Uniform, StandardNormal)}
TRIED = 4  # inputs by which a loaded generator is known
NEAR = 1e-2  # of the largest output: more than roundings come to, less than another network differs by
CHUNK = 1_000  # rows that all members make at once

Noise = Normal | Uniform | StandardNormal


@dataclass(frozen=True, eq=False)
class Generators:
    """Trained generators, what goes in, and the units of what comes out.

    Args:
        network: the generators, such as ``history.averaged``.
        noise: what goes in; its features are the network's inputs.
        units: of what comes out; the network's own numbers if None.
        origin: what is to be known of the training, by name.

    Raises:
        TypeError: if an argument is of the wrong type; the noise has to be one of `NOISE`.
    """

    network: Ensemble
    noise: Noise
    units: Units | None = None
    origin: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the arguments."""
        _checks.instance("network", self.network, Ensemble)
        if type(self.noise).__name__ not in NOISE:
            kind = type(self.noise).__name__
            raise TypeError(f"noise must be one of {', '.join(NOISE)}, which a file can name, not {kind}.")
        if self.units is not None:
            _checks.instance("units", self.units, Units)

    @property
    def seeds(self) -> int:
        """How many members there are."""
        return self.network.seeds

    @torch.no_grad()
    def made(self, z: Tensor) -> Tensor:
        """Return what each member makes of noise, in the network's units, on the device of the weights.

        Args:
            z: noise, ``(seeds, n, noise features)``.

        Returns:
            Samples, ``(seeds, n, ...)``.
        """
        training = self.network.training
        weight = next(self.network.parameters(), z)
        try:
            made: Tensor = self.network.eval()(z.to(weight))
        finally:
            self.network.train(training)
        return made

    def samples(self, n: int, rng: Stream) -> Tensor:
        """Return n samples of each member, in the network's units, ``(seeds, n, ...)``.

        Args:
            n: how many of each.
            rng: where their noise comes from.
        """
        _checks.whole("n", n)
        _checks.instance("rng", rng, Stream)
        sizes = [min(CHUNK, n - done) for done in range(0, n, CHUNK)]
        return torch.cat([self.made(self.noise(self.seeds, size, rng)) for size in sizes], 1)

    def sample(self, n: int, rng: Stream, member: int | None = None) -> Any:
        """Return n samples in the data's own units.

        Args:
            n: how many.
            rng: where their noise comes from.
            member: which generator makes them; unless given, each is made by one that is drawn for it.

        Returns:
            An array, a table by its columns or a data frame, as the data were. Without units a tensor.

        Raises:
            TypeError: if an argument is of the wrong type.
            ValueError: if there is no such member.
        """
        made = self.samples(_checks.whole("n", n), rng)
        if member is None:
            who = rng.integers(self.seeds, n).to(made.device)
            rows = made[who, torch.arange(n, device=made.device)]
        elif _checks.whole("member", member, at_least=0) < self.seeds:
            rows = made[member]
        else:
            raise ValueError(f"member must be at most {self.seeds - 1}, not {member}.")
        return rows if self.units is None else self.units.decode(rows.flatten(1))

    def member(self, k: int) -> nn.Module:
        """Return member k as plain torch layers, from noise to the network's units, on the CPU.

        Args:
            k: which one.
        """
        return self.network.member(k).eval().requires_grad_(False)

    def only(self, members: Sequence[int]) -> Generators:
        """Return some of the members alone.

        Args:
            members: which ones, at least one.
        """
        device = next(self.network.parameters()).device
        network = Ensemble.of([self.member(k) for k in members], device, stacked=self.network.is_stacked)
        return Generators(network.eval(), self.noise, self.units, self.origin)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write them into one file, and return its path; a file that is there is replaced in one move.

        Args:
            path: the file; ``.safetensors`` is the usual ending.

        Raises:
            CheckpointError: if it cannot be written.
        """
        z = self.noise(1, TRIED, Stream("tried", 0))
        members = [self.member(k).state_dict() for k in range(self.seeds)]
        tensors = {f"G/{name}": torch.stack([m[name] for m in members]) for name in members[0]}
        tensors |= {"tried/z": z, "tried/x": self.made(z.expand(self.seeds, *z.shape[1:])).cpu()}
        content = packed({k: v.contiguous() for k, v in tensors.items()}, self._told(), FORMAT)
        target = Path(_checks.path("path", path))
        try:
            write_whole(target, content)
        except OSError as error:
            raise CheckpointError(f"{target} could not be written: {error}.") from error
        return target

    def _told(self) -> dict[str, str]:
        try:
            layers = architectures.described(self.network.member(0))
        except (TypeError, ValueError) as error:  # whoever loads it has to bring the code
            layers = f"none: {error}"
        kind, noise = type(self.noise).__name__, asdict(self.noise)
        return {
            "layers": layers,
            "architecture": self.network.architecture,
            "stacked": json.dumps(self.network.is_stacked),
            "noise": json.dumps({kind: noise}),
            "units": "" if self.units is None else self.units.text(),
            "origin": json.dumps(dict(self.origin)),
            "torch": torch.__version__,
        }

    def export(self, path: str | os.PathLike[str], k: int = 0) -> Path:
        """Write member k in the format ONNX, from noise to the data's own units, and return the path.

        A category is the place of its level in ``units``.

        Args:
            path: the file; ``.onnx`` is the usual ending.
            k: which member.

        Raises:
            ModuleNotFoundError: if onnx or onnxscript is not installed; both are optional.
        """
        for package in ("onnx", "onnxscript"):
            try:
                __import__(package)
            except ImportError as error:
                raise ModuleNotFoundError(
                    "ONNX needs packages that are not installed: pip install onnx onnxscript."
                ) from error
        network = self.member(k)
        whole = network if self.units is None else nn.Sequential(network, nn.Flatten(), InUnits(self.units))
        target = Path(_checks.path("path", path))
        torch.onnx.export(
            whole.eval(), (self.noise(1, 2, Stream("tried", 0))[0],), target, input_names=["z"],
            output_names=["x"], dynamic_shapes=({0: torch.export.Dim("n")},), dynamo=True, verbose=False,
            external_data=False,
        )  # fmt: skip
        return target


def load(
    path: str | os.PathLike[str],
    member: Callable[[], nn.Module] | None = None,
    device: torch.device | str | None = None,
) -> Generators:
    """Return the generators of a file, wherever they were trained.

    Args:
        path: the file.
        member: makes one network, where it is of layers that a file cannot describe.
        device: where they will live; `gan_helpers.device.default_device` unless given.

    Raises:
        TypeError: if an argument is of the wrong type.
        CheckpointError: if the file is damaged or of another kind, needs ``member``, or the generators do
            not make what they made when they were saved.
    """
    path = Path(_checks.path("path", path))
    told, tensors = read(path, FORMAT)
    try:
        weights = {k.removeprefix("G/"): v for k, v in tensors.items() if k.startswith("G/")}
        plain = _member(path, told, member)
        network = Ensemble.of(
            _filled(plain, weights, member is None),
            default_device() if device is None else _checks.device("device", device),
            stacked=json.loads(told["stacked"]),
        )
        ((kind, values),) = json.loads(told["noise"]).items()
        units = Units.of(told["units"]) if told["units"] else None
        found = Generators(network.eval(), NOISE[kind](**values), units, json.loads(told["origin"]))
    except CheckpointError:
        raise
    except Exception as error:  # what a file that was made to do harm can do is not known
        raise CheckpointError(f"{path} does not hold generators that can be built ({error}).") from error
    _refuse_others(path, found, tensors)
    return found


def _member(path: Path, told: Mapping[str, str], member: Callable[[], nn.Module] | None) -> nn.Module:
    """Return a network of the kind that was saved."""
    if member is None:
        if told["layers"].startswith("none"):
            raise CheckpointError(
                f"{path} holds generators whose layers it cannot describe: give load the function that "
                f"makes one, load(path, member=...). It was {' '.join(told['architecture'].split())}."
            )
        return architectures.built(told["layers"])
    made: nn.Module = Ensemble(member, 1, device="cpu", stacked=False).member(0)
    if str(made) != told["architecture"]:
        raise CheckpointError(f"member makes another network than the one of {path}: {made}.")
    return made


def _filled(plain: nn.Module, weights: State, described: bool) -> list[nn.Module]:
    """Return one network for each member, with its weights."""
    seeds = {len(value) for value in weights.values()}
    if len(seeds) != 1:
        raise ValueError("its weights are not of as many members")
    members = []
    for k in range(*seeds):
        mine = {name: value[k].clone() for name, value in weights.items()}
        if described:
            architectures.with_weights(plain, mine)
        else:
            plain.load_state_dict(mine)
        members.append(copy.deepcopy(plain))
    return members


def _refuse_others(path: Path, found: Generators, tensors: State) -> None:
    """Check that generators make what those made that were saved."""
    z, expected = tensors["tried/z"], tensors["tried/x"]
    made = found.made(z.expand(found.seeds, *z.shape[1:])).cpu()
    largest = float(expected.abs().max())
    if made.shape != expected.shape or not float((made - expected).abs().max()) <= NEAR * largest:
        raise CheckpointError(
            f"The generators of {path} do not make what they made when they were saved: the network is "
            "another one. Give load the function that made it, member=..."
        )
