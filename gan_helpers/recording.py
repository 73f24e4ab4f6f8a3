"""Keeps what a training leaves behind, and stops it at what is not finite.

Raises:
    NonFiniteLossError: at a loss or a weight that is not finite, unless other seeds go on.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from gan_helpers.ensemble import Ensemble
from gan_helpers.history import History, NonFiniteLossError
from gan_helpers.options import Watch
from gan_helpers.states import State, match

CHECK_EVERY = 100  # steps between two looks at weights, and at an accelerator's losses: each waits for it


class Looks:
    """What was watched on the way, in torch and in MXNet alike.

    Args:
        watch: what to look at, and how often.
    """

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.at: list[int] = []
        self.seen: list[dict[str, Tensor]] = []

    def due(self, made: int, last: bool) -> bool:
        """Tell whether there is a look after ``made`` steps that was not taken yet.

        Args:
            made: the steps made.
            last: whether the run ends here.
        """
        if self.watch.function is None or self.at[-1:] == [made]:
            return False
        return last or made % self.watch.every == 0

    def take(self, made: int, network: Any) -> None:
        """Look at ``network``, and keep copies of what there is to see.

        Args:
            made: the steps made.
            network: the generators.

        Raises:
            TypeError: if ``watch`` does not return tensors by name.
            ValueError: if they are not those of the first look in name and shape.
        """
        assert self.watch.function is not None
        found = _tensors_by_name(self.watch.function(network))
        shapes = [{name: tuple(v.shape) for name, v in looks.items()} for looks in (*self.seen[:1], found)]
        if shapes[0] != shapes[-1]:
            raise ValueError(
                f"watch must return the same names and shapes at each look: {shapes[-1]} at step {made}, "
                f"and {shapes[0]} at step {self.at[0]}."
            )
        self.seen.append(found)
        self.at.append(made)

    def by_name(self) -> dict[str, Tensor]:
        """Return all that was seen, by name, ``(records, ...)``."""
        return {
            name: torch.stack([values[name].to(newest.device) for values in self.seen])
            for name, newest in (self.seen[-1] if self.seen else {}).items()
        }


def _tensors_by_name(found: Any) -> dict[str, Tensor]:
    """Return copies of what a look returned, if it is tensors by name."""
    if not isinstance(found, dict):
        raise TypeError(
            f'watch must return tensors by name, such as {{"mean": G(z).mean((1, 2))}}, '
            f"not {type(found).__name__}; {{}} if there is nothing to keep."
        )
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise TypeError(
                f"watch must return tensors by name, not {type(value).__name__} under {name!r}: "
                "a tensor whose first axis is that of the seeds, (seeds, ...)."
            )
    return {name: value.detach().clone() for name, value in found.items()}


def first_bad_loss(d_loss: Tensor, g_loss: Tensor) -> tuple[str, Tensor, int] | None:
    """Return, of the first loss that is not finite, what to say, its seeds, and the steps up to there.

    Args:
        d_loss: the losses of D, ``(steps, seeds)``.
        g_loss: the losses of G, ``(steps, seeds)``.

    Returns:
        Words, the seeds ``(seeds,)`` as True or False, and a number; None if all losses are finite.
    """
    losses = torch.stack([d_loss, g_loss], dim=1)  # in each step D goes before G
    bad = ~losses.isfinite()
    turns = bad.flatten(0, 1).any(1).nonzero()
    if not len(turns):
        return None
    first, turn = divmod(int(turns[0]), 2)
    seeds, step = bad[first, turn], first + 1
    return f"The loss of {'DG'[turn]} is {losses[first, turn][seeds][0].item()} at step {step}", seeds, step


def require_one_left(history: History) -> None:
    """Raise what a run of all members would have raised when the last of them had failed.

    Args:
        history: of all members; in the processes that trained them, none was known to be the last.

    Raises:
        NonFiniteLossError: if all have failed.
    """
    if not (len(history.failed) and history.failed.all()):
        return
    found = first_bad_loss(history.d_loss, history.g_loss)
    what, seeds, steps = found or (
        f"Weights are not finite after step {history.steps}",
        history.failed,
        history.steps,
    )
    until = replace(history, d_loss=history.d_loss[:steps], g_loss=history.g_loss[:steps], averaged=None)
    raise not_finite(what, seeds, until)


def not_finite(what: str, seeds: Tensor, history: History, more: str = "") -> NonFiniteLossError:
    """Return the error that says what is not finite, for which seeds, and what can be done.

    Args:
        what: what happened, in words.
        seeds: where, ``(seeds,)``, True or False.
        history: the run up to there.
        more: what else there is to say.
    """
    return NonFiniteLossError(
        f"{what}, for {int(seeds.sum())} of {len(seeds)} seeds: {seeds.nonzero().flatten().tolist()}."
        f"{more} Look at its data, or lower its learning rate. "
        "The losses up to there are in this error's history.",
        history,
    )


class Record:
    """Keeps losses and watched values on the device, and stops at what is not finite.

    Args:
        steps: how many steps the run is to make.
        G: the generators.
        D: the discriminators.
        watch: what to look at on the way.
        shown: the generators to look at, G itself or its average.
        goes_on: whether other seeds go on when one is not finite any more, until none is left. A share of the
            members goes on to the end: `require_one_left` tells when all are gathered.
    """

    def __init__(
        self, steps: int, G: Ensemble, D: Ensemble, watch: Watch, shown: Ensemble, goes_on: bool
    ) -> None:
        self.made = 0  # steps
        device = next(G.parameters()).device
        self._losses = {name: torch.zeros(steps, G.seeds, device=device) for name in "DG"}
        self._players = {"D": D, "G": G}
        self._weights = [*D.parameters(), *G.parameters()]
        self.look_every = 1 if device.type == "cpu" else CHECK_EVERY
        self._share = G.share
        self._has_numbers = device.type != "meta"
        self._goes_on = goes_on
        self._looks, self._shown = Looks(watch), shown

    def losses(self, name: str, losses: Tensor) -> None:
        """Keep the losses of one network, ``(seeds,)``, at the step under way."""
        kept, known = self._losses[name], self.made + 1
        kept[self.made] = losses
        if known % self.look_every == 0 or known == len(kept):
            self.stop_unless_finite(kept[max(0, known - self.look_every) : known])

    def step_made(self) -> None:
        """Count a step, and look at the weights now and then: in between, the next loss tells."""
        self.made += 1
        if self.made % CHECK_EVERY == 0:
            self.stop_unless_finite()

    @torch.no_grad()
    def stop_unless_finite(self, latest: Tensor | None = None) -> None:
        """Raise if one of the latest losses, or else a weight, is not finite, unless other seeds go on."""
        if not self._has_numbers:
            return
        if math.isfinite((get_total_norm(self._weights) if latest is None else latest.sum()).item()):
            return
        # The norm or the sum of large numbers may be infinite although they are not. And on an accelerator,
        # where one looks late, the other network may have been the first: in each step D goes before G.
        known = self.made if latest is None else self.made + 1
        failed = self._failed(known)
        others = self._goes_on and not self._share.is_whole  # members of other processes may be left
        if not others and (failed.all() if self._goes_on else failed.any()):
            raise self._error(known)

    def _error(self, known: int) -> NonFiniteLossError:
        """Return the error that names the first loss in ``known`` steps, or else the weights, that failed."""
        ill = {name: seeds for name in "DG" if (seeds := _not_finite(self._players[name])).any()}
        if found := first_bad_loss(*(self._losses[name][:known] for name in "DG")):
            what, seeds, steps = found
            # What is known about the weights is of now: it tells of the cause only if the loss is of now too.
            more = f" So are weights of {' and '.join(ill)}." if ill and steps == self.made + 1 else ""
        else:
            name, seeds = next(iter(ill.items()))
            what, more, steps = f"Weights of {name} are not finite after step {self.made}", "", self.made
        return not_finite(what, self._share.placed(seeds), self._until(steps), more)

    def _failed(self, known: int) -> Tensor:
        """Return which seeds have a loss in the first ``known`` steps, or a weight, that is not finite."""
        finite = torch.stack(list(self._losses.values()))[:, :known].isfinite().flatten(0, 1).all(0)
        return ~finite | _not_finite(self._players["D"]) | _not_finite(self._players["G"])

    def newest(self) -> Tensor:
        """Return copies of the losses of D and G at the last step made, ``(2, seeds)``, on the CPU."""
        return torch.stack([self._losses[name][self.made - 1] for name in "DG"]).cpu()

    def look(self, last: bool = False) -> None:
        """Look at the generators, if it is time, without gradients and in evaluation mode."""
        if not self._looks.due(self.made, last):
            return
        training = self._shown.training
        self._shown.eval()
        with torch.no_grad():
            self._looks.take(self.made, self._shown)
        self._shown.train(training)

    def _until(self, made: int, averaged: Ensemble | None = None) -> History:
        return History(
            d_loss=self._losses["D"][:made],
            g_loss=self._losses["G"][:made],
            at=torch.tensor(self._looks.at, dtype=torch.long),
            watched=self._looks.by_name(),
            averaged=averaged,
            failed=self._failed(made),
            share=self._share,
        )

    def history(self, averaged: Ensemble | None) -> History:
        """Return the record of the steps made, with the averaged generators if there are any."""
        history = self._until(self.made, averaged)
        history.interrupted = self.made < len(self._losses["D"])
        return history

    def state(self) -> State:
        """Return copies of the losses and of what was watched, for a checkpoint."""
        watched = self._looks.by_name()
        return {
            "made": torch.tensor(self.made),
            "d_loss": self._losses["D"][: self.made].clone(),
            "g_loss": self._losses["G"][: self.made].clone(),
            "at": torch.tensor(self._looks.at, dtype=torch.long),
            "names": torch.tensor(len(watched)),
            **{f"watched/{name}": values for name, values in watched.items()},
        }

    def load_state(self, state: State) -> None:
        """Set the record to what `state` returned."""
        match({"made": torch.tensor(0)}, {"made": state["made"]})
        made = int(state["made"])
        if not 0 <= made <= len(self._losses["D"]):
            raise ValueError(f"it has made {made} steps, and steps is {len(self._losses['D'])}: raise steps.")
        at, device = state["at"].tolist(), self._losses["D"].device
        watched = {k[len("watched/") :]: value for k, value in state.items() if k.startswith("watched/")}
        expected = {
            "made": torch.tensor(0),
            "d_loss": self._losses["D"][:made],
            "g_loss": self._losses["G"][:made],
            "at": torch.zeros(len(at), dtype=torch.long),
            "names": torch.tensor(0),
        }
        match(expected, {k: value for k, value in state.items() if not k.startswith("watched/")})
        looked = 0 if self._looks.watch.function is None else len(at)
        in_order = at == sorted(set(at)) and all(0 <= step <= made for step in at)
        whole = len(watched) == state["names"] and all(len(looks) == looked for looks in watched.values())
        if not (in_order and whole and len(at) == looked):
            raise ValueError("its looks at the generators do not belong to its steps.")
        for name, kept in self._losses.items():
            kept.zero_()[:made] = state[f"{name.lower()}_loss"]
        self.made, self._looks.at = made, at
        self._looks.seen = [
            {name: values[i].to(device) for name, values in watched.items()} for i in range(looked)
        ]


def _not_finite(network: Ensemble) -> Tensor:
    """Return which members have a weight that is NaN or infinite, (seeds,)."""
    return ~torch.stack([p.detach().flatten(1).isfinite().all(1) for p in network.parameters()]).all(0)
