r"""Labels as a part of data and noise: pairs are drawn, networks use them, and labels are read.

A labelled sample is a pair (x, y), and labelled noise is a pair (z, y): tensors ``(seeds, batch, ...)`` and
labels ``(seeds, batch)``, whole numbers from 0. An ensemble takes a pair as one input, ``G((z, y))`` and
``D((x, y))``, so that a conditional game is two losses like any other.

Raises:
    TypeError: everywhere, if an argument is not a tensor, a number or a module where one is asked for.
    ValueError: everywhere, if an argument is empty, out of its range, or of a shape that does not fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_helpers import _checks
from gan_helpers.data import Minibatches, Sampler
from gan_helpers.randomness import Stream

# Samplers


class Shares:
    """Labels drawn apart from each other, each as often as its share says.

    Args:
        shares: of the labels, above 0 and of sum 1.
    """

    def __init__(self, shares: Sequence[float]) -> None:
        self.shares = tuple(_checks.number("a share", share, above=0.0) for share in shares)
        if abs(sum(self.shares) - 1) > 1e-6:
            raise ValueError(f"shares must have the sum 1, not {sum(self.shares):g}: divide by the sum.")

    @property
    def classes(self) -> int:
        """How many labels there are."""
        return len(self.shares)

    def __call__(self, seeds: int, batch: int, rng: Stream) -> Tensor:
        """Draw labels for each seed, ``(seeds, batch)``."""
        ends = torch.tensor(self.shares, device=rng.device).cumsum(0)[:-1]
        return torch.bucketize(rng.uniform(seeds, batch), ends, right=True)


class Labelled:
    """Samples with the label that each was drawn by: first y, then x from the distribution of y.

    Args:
        parts: what draws x of each label.
        shares: of the labels, above 0 and of sum 1.
    """

    def __init__(self, parts: Sequence[Sampler], shares: Sequence[float]) -> None:
        self.parts, self.labels = tuple(parts), Shares(shares)
        if len(self.parts) != self.labels.classes:
            raise ValueError(
                f"shares must be as many as parts, {len(self.parts)}, not {self.labels.classes}."
            )

    def __call__(self, seeds: int, batch: int, rng: Stream) -> Any:
        """Draw pairs for each seed: x ``(seeds, batch, features)`` and y ``(seeds, batch)``."""
        y = self.labels(seeds, batch, rng)
        each = torch.stack([part(seeds, batch, rng) for part in self.parts], 2)
        index = y[:, :, None, None].expand(-1, -1, 1, each.shape[3])
        return each.gather(2, index).squeeze(2), y


class LabelledRows:
    """A data set with its labels, in epochs as those of `gan_helpers.data.Minibatches`.

    Args:
        rows: ``(n, features)``.
        labels: ``(n,)``, whole numbers.
    """

    def __init__(self, rows: Tensor, labels: Tensor) -> None:
        _checks.floating("rows", rows, "(n, features)", dims=2)
        _checks.classes("labels", labels, "(n,)", dims=1)
        if len(rows) != len(labels):
            raise ValueError(f"labels must be as many as rows, {len(rows)}, not {len(labels)}.")
        # Labels ride along as a last feature: small whole numbers are exact in any precision.
        self._pairs = Minibatches(torch.cat([rows, labels.to(rows).unsqueeze(1)], 1))

    @property
    def data(self) -> Tensor:
        """The rows, with their labels as a last feature."""
        return self._pairs.data

    def __call__(self, seeds: int, batch: int, rng: Stream) -> Any:
        """Draw pairs for each seed: x ``(seeds, batch, features)`` and y ``(seeds, batch)``."""
        pairs = self._pairs(seeds, batch, rng)
        return pairs[:, :, :-1], pairs[:, :, -1].long()

    def state(self) -> dict[str, Tensor]:
        """Return where it is in its epoch, for a checkpoint."""
        return self._pairs.state()

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on from where another one of as many rows was.

        Args:
            state: what its `state` returned.
        """
        self._pairs.load_state(state)


class Asked:
    """Noise with the label that a sample is asked for: labelled noise (z, y).

    Args:
        noise: draws z.
        shares: how often each label is asked for, above 0 and of sum 1.
    """

    def __init__(self, noise: Sampler, shares: Sequence[float]) -> None:
        self.noise, self.labels = noise, Shares(shares)

    def __call__(self, seeds: int, batch: int, rng: Stream) -> Any:
        """Draw pairs for each seed: z ``(seeds, batch, features)`` and y ``(seeds, batch)``."""
        return self.noise(seeds, batch, rng), self.labels(seeds, batch, rng)


# Networks


def one_hot(y: Tensor, classes: int, like: Tensor) -> Tensor:
    """Return labels as rows with a single 1, ``(..., classes)``, in the precision of ``like``.

    Args:
        y: labels, ``(...)``, whole numbers from 0 to ``classes - 1``.
        classes: how many there are.
        like: a tensor of the precision.
    """
    _checks.classes("y", y, "(...)", count=_checks.whole("classes", classes))
    return F.one_hot(y, classes).to(like.dtype)


class Concatenated(nn.Module):
    r"""A network whose input is a sample or noise with its label behind it, :math:`f([x, e_y])`.

    Args:
        network: takes rows of the features and as many further numbers as there are labels.
        classes: how many labels there are.

    References:
        Mirza and Osindero (2014), section 3.2. https://arxiv.org/abs/1411.1784
    """

    def __init__(self, network: nn.Module, classes: int) -> None:
        super().__init__()
        self.network = _checks.instance("network", network, nn.Module)
        self.classes = _checks.whole("classes", classes)

    def forward(self, x: Tensor, y: Tensor) -> Any:
        """Map ``(..., features)`` and labels ``(...)`` to what the network makes of both."""
        return self.network(torch.cat([x, one_hot(y, self.classes, x)], -1))


class Joined(nn.Module):
    r"""A network that maps sample and label apart from each other, and then both: :math:`f([g(x), k(e_y)])`.

    Args:
        first: g, which maps a sample.
        label: k, which maps a row of as many numbers as there are labels.
        rest: f, which takes what both return, side by side.
        classes: how many labels there are.

    References:
        Mirza and Osindero (2014), section 4.1. https://arxiv.org/abs/1411.1784
    """

    def __init__(self, first: nn.Module, label: nn.Module, rest: nn.Module, classes: int) -> None:
        super().__init__()
        self.first = _checks.instance("first", first, nn.Module)
        self.label = _checks.instance("label", label, nn.Module)
        self.rest = _checks.instance("rest", rest, nn.Module)
        self.classes = _checks.whole("classes", classes)

    def forward(self, x: Tensor, y: Tensor) -> Any:
        """Map ``(..., features)`` and labels ``(...)`` to what the network makes of both."""
        told = self.label(one_hot(y, self.classes, x))
        return self.rest(torch.cat([self.first(x), told], -1))


class Ignoring(nn.Module):
    """A network that is given the label and does not use it: the control of those that do.

    Args:
        network: takes rows of the features alone.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = _checks.instance("network", network, nn.Module)

    def forward(self, x: Tensor, y: Tensor) -> Any:
        """Map ``(..., features)`` and labels ``(...)`` to what the network makes of the features."""
        return self.network(x)


class Projection(nn.Module):
    r"""A discriminator that compares what it sees in a sample with a direction of the label.

    .. math:: a(x, y) = w^\top h(x) + b + v_y^\top h(x)

    Args:
        body: h, which maps a sample to ``features`` numbers.
        features: how many they are.
        classes: how many labels there are, each with a vector v of its own.

    References:
        Miyato and Koyama (2018), equation 3. https://arxiv.org/abs/1802.05637
    """

    def __init__(self, body: nn.Module, features: int, classes: int) -> None:
        super().__init__()
        self.body = _checks.instance("body", body, nn.Module)
        self.head = nn.Linear(features, 1)
        self.directions = nn.Linear(_checks.whole("classes", classes), features, bias=False)
        self.classes = classes

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Map ``(..., features)`` and labels ``(...)`` to logits, ``(..., 1)``."""
        h = self.body(x)
        v = self.directions(one_hot(y, self.classes, h))
        logits: Tensor = self.head(h) + (v * h).sum(-1, keepdim=True)
        return logits


class Readers(nn.Module):
    r"""A discriminator that sees the sample alone, with further heads that read the label from it.

    .. math:: x \mapsto (w^\top h(x) + b,\ W_1 h(x) + b_1,\ \dots)

    Args:
        body: h, which maps a sample to ``features`` numbers.
        features: how many they are.
        classes: how many labels there are.
        readers: how many heads read it; the auxiliary classifier is one.

    References:
        Odena, Olah and Shlens (2017), https://arxiv.org/abs/1610.09585; with two heads, Gong et al. (2019),
        https://arxiv.org/abs/1907.02690
    """

    def __init__(self, body: nn.Module, features: int, classes: int, readers: int = 1) -> None:
        super().__init__()
        self.body = _checks.instance("body", body, nn.Module)
        self.head = nn.Linear(features, 1)
        heads = [nn.Linear(features, classes) for _ in range(_checks.whole("readers", readers))]
        self.readers = nn.ModuleList(heads)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map ``(..., features)`` to logits ``(..., 1)``, and to ``(..., classes)`` by each head."""
        h = self.body(x)
        return self.head(h), *(reader(h) for reader in self.readers)


# The loss of reading


def misread(logits: Tensor, y: Tensor) -> Tensor:
    r"""Return how badly labels are read: the cross-entropy of the labels and the answers.

    .. math:: -\mathbb{E}[\log C(y \mid x)], \qquad
        C(y \mid x) = \frac{e^{a_y(x)}}{\sum_k e^{a_k(x)}}

    Args:
        logits: a, ``(seeds, batch, classes)``.
        y: labels, ``(seeds, batch)``.

    Returns:
        One loss per seed in nats, ``(seeds,)``; the logarithm of the number of labels where nothing is told.

    References:
        Odena, Olah and Shlens (2017), equation 3. https://arxiv.org/abs/1610.09585
    """
    _checks.floating("logits", logits, "(seeds, batch, classes)", dims=3)
    _checks.classes("y", y, "(seeds, batch)", dims=2, count=logits.shape[2])
    if y.shape != logits.shape[:2]:
        raise ValueError(f"y must have shape {tuple(logits.shape[:2])}, as logits has, not {tuple(y.shape)}.")
    losses = F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none")
    return losses.view(y.shape).mean(1)
