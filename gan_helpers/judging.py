r"""How good generators of your own data are, against rows that they have not seen and against plain rivals.

All is measured in the units that a network sees, on what a reader would get: whole numbers are rounded, a
category is one of its levels. A number counts in standard deviations of its column, a point of a curve in
that of all points, a pixel in halves of white, and another level of a category as :math:`\sqrt 2`, be it
frequent or rare. So the distances of two data sets need not be in one unit. Beside each number stands what
real rows get.

- The distance is :math:`W_1` from one half of the held-out rows, a mean over several ways to halve them. Its
  floor is that of the other half. The floor is no lower bound: in many dimensions, samples that are too
  much alike can be nearer than real rows are, and nearer than samples that are spread as real rows are. Their
  coverage need not be low; their density is above that of real rows.
- Density, precision and coverage say how far samples lie among the held-out rows, and these among
  samples.
- A classifier tries to tell samples from held-out rows. Real rows get it to about 1/2.
- Copying is the share of samples that are nearer to a training row than to a held-out one, of as many of
  each. Real rows get what the same samples get if training and held-out rows are shuffled: about 1/2.
  Closeness is how far samples are from the nearest training row, in units of how far held-out rows are; at 0
  the training rows are handed out.
- Membership is what someone learns who has samples and a row, and asks whether the row was trained on: how
  often a training row is nearer to a sample than a held-out row is. 1/2 is guessing.

What real rows get, but for the distance, is measured on all rows, shuffled into some to judge by and some to
be judged, several times. A seed passes if its distance, its coverage and its classifier are within what these
get. Of fresh rows of the true distribution about nine in ten samples do.

The rivals learn from the same rows: a Gaussian, a mixture of Gaussians, and the bootstrap, which draws
training rows again.

Raises:
    TypeError: everywhere, if an argument is of the wrong type.
    ValueError: everywhere, if rows and generators do not belong together.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from scipy.stats import mannwhitneyu
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from gan_helpers import _checks, image_metrics, metrics, report_pages
from gan_helpers.files import write_whole
from gan_helpers.generators import Generators
from gan_helpers.randomness import Stream
from gan_helpers.results import Shown, holm, results_table
from gan_helpers.tables import Columns
from gan_helpers.units import Units
from gan_helpers.your_data import Rows, Split, split_of

MOST = 1_000  # held-out rows that are compared with
HALVINGS = 20  # of the held-out rows, and of all rows
SHUFFLES = 100
NEIGHBOUR = 5  # which one sets the size of a neighbourhood
TREES = 50
MODES = (2, 4, 8, 16, 32, 64)  # of a mixture; the one with the lowest BIC is taken
FULL = 32  # features up to which a mixture has whole covariances
WHOLE = 4_096  # features up to which the Gaussian has one: the time grows with their cube
TOLD = 0.05  # below which probability two are told apart
TINY, FAR = 1e-12, 99.0  # 0 over 0 is 1, and no closeness is above the second
NEAR = 0.5  # the closeness below which samples are no new rows
FEW = 5  # seeds, below which even the clearest difference may be chance

Sampled = Callable[[int, int, Stream], Tensor]

#: The measures, by the words that stand above their columns.
MEASURES = {
    "distance": "distance",
    "density": "density",
    "precision": "precision",
    "coverage": "coverage",
    "told by a classifier": "told",
    "copying": "copying",
    "closeness": "closeness",
    "membership": "membership",
    "passes": "passes",
}


REPEATED = (
    "Copying cannot be told: half of the held-out rows or more equal a training row, as they do where rows "
    "repeat."
)


@dataclass(frozen=True, eq=False)
class Report:
    """What generators and their rivals came to; every column is ``(seeds,)``, and that of real rows longer.

    Args:
        rows: the measures by the words of their rows, the generators first.
        real: what real rows get, one number for each draw of them.
        verdicts: what follows, in sentences.
        origin: which rows, and how they were split.
        shown: held-out rows and samples of the first generator, as a network meets them, ``(n, features)``.
        units: of the rows.
    """

    rows: dict[str, Columns]
    real: Columns
    verdicts: list[str]
    origin: dict[str, str]
    shown: tuple[Tensor, Tensor]
    units: Units

    def table(self) -> Shown:
        """Return all of it as a table: median and range over the seeds."""
        measures = {words: key for words, key in MEASURES.items() if key != "passes"}
        return results_table(self.rows | {"real rows": self.real}, measures | {"passes": "passes"})

    def record(self) -> dict[str, Any]:
        """Return all numbers as what JSON can hold."""
        rows = self.rows | {"real rows": self.real}
        return {
            "rows": {
                name: {key: values.tolist() for key, values in columns.items()}
                for name, columns in rows.items()
            },
            "verdicts": self.verdicts,
            "origin": self.origin,
        }

    def save(self, path: str | os.PathLike[str], real: bool = True) -> Path:
        """Write a page that needs nothing else, and beside it the record as JSON; return the page's path.

        The picture on the page shows real rows that were held out: up to 24 images, up to 20 curves, or how
        often values occur in up to 12 columns, with the extreme ones. Keep the page where the data are.

        Args:
            path: of the page; ``.html`` is the usual ending.
            real: False leaves the picture out, and with it all that is seen of real rows.
        """
        page = Path(_checks.path("path", path))
        write_whole(page.with_suffix(".json"), json.dumps(self.record(), indent=1).encode())
        write_whole(page, report_pages.page(self, real).encode())
        return page


def report(generators: Generators, rows: Rows, seed: int | None = None) -> Report:
    """Return how good generators are.

    Args:
        generators: of `gan_helpers.your_data.fit`, loaded ones as well.
        rows: the data that they learned from.
        seed: of the streams that samples, halves and rivals come from;
            `gan_helpers.randomness.base_seed` unless given.
    """
    parts = split_of(generators, rows)
    judge = _Judge(parts, seed)
    samples = generators.samples(judge.n, Stream("judged/GAN", seed)).flatten(2).cpu()
    found = {"GAN": judge.measured(samples)}
    for name, rival in RIVALS.items():
        rng = Stream(f"judged/{name}", seed)
        found[name] = judge.measured(rival(parts.train)(generators.seeds, judge.n, rng))
    for columns in found.values():
        columns["passes"] = judge.passed(columns)
    real = judge.real | {"copying": judge.shuffled(samples[0])}
    shown = parts.held_out[: judge.n], parts.units.rounded(samples[0])
    return Report(found, real, verdicts(found, real), parts.origin, shown, parts.units)


class _Judge:
    """Held-out rows, what real rows get from them, and as much for any sample."""

    def __init__(self, parts: Split, seed: int | None) -> None:
        self._units, self._seed = parts.units, seed
        rng = Stream("judged", seed)
        self.n = min(len(parts.train), len(parts.held_out), MOST)
        self._held = parts.held_out[rng.permutation(len(parts.held_out))[: self.n]].double()
        self._train = parts.train.double()
        half = self.n // 2
        orders = [rng.permutation(self.n) for _ in range(HALVINGS)]
        self._halves = [(order[:half], order[half : 2 * half]) for order in orders]
        self._same_size = self._train[rng.permutation(len(self._train))[: self.n]]
        self._own_closeness = self._to_train(self._held.unsqueeze(0))
        self.real = self._of_real_rows(rng)

    def _of_real_rows(self, rng: Stream) -> Columns:
        """Return what rows get that are held out as well, one number for each way to shuffle them."""
        pairs = [(self._held[one], self._held[other]) for one, other in self._halves]
        floor = [metrics.w1_points(one.unsqueeze(0), other.unsqueeze(0))[0] for one, other in pairs]
        rows, found = torch.cat([self._train, self._held]), []
        for k in range(HALVINGS):
            drawn = rows[rng.permutation(len(rows))[: 2 * self.n]]
            one, other = drawn.split(self.n)
            found.append(_among(one.unsqueeze(0), other) | {"told": self._told(one, other, k)})
        columns = {key: torch.stack([each[key] for each in found]).flatten() for key in found[0]}
        return {"distance": torch.stack(floor)} | columns

    def measured(self, x: Tensor) -> Columns:
        """Return all measures of samples, ``(seeds, n, features)``."""
        x = self._units.rounded(x.double())
        half = self.n // 2
        far = [metrics.w1_points(x[:, :half], self._held[a].expand(len(x), -1, -1)) for a, _ in self._halves]
        return {
            "distance": torch.stack(far).mean(0),
            **_among(x, self._held),
            "told": torch.stack([self._told(sample, self._held, k) for k, sample in enumerate(x)]),
            "copying": image_metrics.copying(x, self._same_size, self._held),
            "closeness": ((self._to_train(x) + TINY) / (self._own_closeness + TINY)).clamp(max=FAR),
            "membership": membership(x, self._same_size, self._held),
        }

    def passed(self, columns: Columns) -> Tensor:
        """Tell which samples are as near, as various and as hard to tell as some real rows."""
        return (
            (columns["distance"] <= self.real["distance"].max())
            & (columns["coverage"] >= self.real["coverage"].min())
            & (columns["told"] <= self.real["told"].max())
        )

    def shuffled(self, sample: Tensor) -> Tensor:
        """Return the copying of a sample, ``(n, features)``, if chance says which rows it was trained on."""
        rng = Stream("judged/shuffled", self._seed)
        far = torch.cdist(self._units.rounded(sample.double()), torch.cat([self._same_size, self._held]))
        found = []
        for _ in range(SHUFFLES):
            one, other = rng.permutation(2 * self.n).split(self.n)
            gap = far[:, other].amin(1) - far[:, one].amin(1)
            found.append(((gap.sign() + 1) / 2).mean())
        return torch.stack(found)

    def _told(self, sample: Tensor, real: Tensor, k: int) -> Tensor:
        """Return how well a classifier tells a sample from real rows, ``()``."""
        trees = ExtraTreesClassifier(TREES, random_state=0)
        rng = Stream(f"judged/told/{k}", self._seed)
        accuracy = metrics.classifier_two_sample_test(sample, real, rng, trees).accuracy
        return torch.tensor(accuracy, dtype=torch.float64)

    def _to_train(self, x: Tensor) -> Tensor:
        """Return the median distance to the nearest training row, ``(seeds,)``."""
        median: Tensor = image_metrics.nearest(x, self._train).distance.median(1).values
        return median


def measured(parts: Split, draw: Sampled, seeds: int, seed: int | None = None) -> Columns:
    """Return what the report measures of samples from anywhere, each ``(seeds,)``.

    Args:
        parts: the rows; samples are compared with those that are held out.
        draw: draws standardised samples, as `gaussian` and `mixture` return it.
        seeds: how many sets of samples.
        seed: of the streams, as for `report`.
    """
    judge = _Judge(parts, seed)
    return judge.measured(draw(seeds, judge.n, Stream("measured", seed)))


def membership(x: Tensor, train: Tensor, held_out: Tensor) -> Tensor:
    r"""Return how well samples tell which rows were trained on, by the distance to the nearest sample.

    .. math:: \frac{1}{m k} \sum_{i=1}^{m} \sum_{j=1}^{k} [\, d(t_i) < d(h_j) \,]
        + \tfrac12 [\, d(t_i) = d(h_j) \,], \qquad d(r) = \min_l |r - x_l|

    It is the area under the curve of an attack that takes rows for trained ones which have a sample near.

    Args:
        x: samples, ``(seeds, n, features)``.
        train: rows that were trained on, ``(m, features)``.
        held_out: rows that were not, ``(k, features)``.

    Returns:
        The shares, ``(seeds,)``.

    Reference:
        Chen, Yu, Zhang and Fritz, *GAN-Leaks: a taxonomy of membership inference attacks against generative
        models*, 2020, https://arxiv.org/abs/1909.03935.
    """
    _checks.floating("x", x, "(seeds, n, features)", dims=3)
    parts = [part.to(x).expand(len(x), -1, -1) for part in (train, held_out)]
    t, h = (torch.cdist(part, x, compute_mode="donot_use_mm_for_euclid_dist").amin(2) for part in parts)
    gap = h.unsqueeze(1) - t.unsqueeze(2)
    return ((gap.sign() + 1) / 2).mean((1, 2))


def _among(x: Tensor, real: Tensor) -> Columns:
    """Return how samples lie among real rows, and these among samples."""
    near = image_metrics.density_coverage(x, real, NEIGHBOUR)
    inside = image_metrics.precision(x, real, NEIGHBOUR)
    return {"density": near.density, "precision": inside, "coverage": near.coverage}


# What follows


def verdicts(rows: dict[str, Columns], real: Columns) -> list[str]:
    """Return what follows from the measures, in sentences.

    Args:
        rows: the measures by the words of their rows, with one called ``"GAN"``.
        real: what real rows get.
    """
    gan = rows["GAN"]
    passed, seeds = int(gan["passes"].sum()), len(gan["passes"])
    said = [f"{passed} of {seeds} seeds pass: as near, as various and as hard to tell as real rows."]
    # Copies of training rows are as near as unseen rows only where those are copies as well.
    repeat = "bootstrap" in rows and bool((rows["bootstrap"]["closeness"] > NEAR).any())
    return [*said, *_against_rivals(rows), REPEATED if repeat else _on_copying(gan, real)]


def _against_rivals(rows: dict[str, Columns]) -> list[str]:
    """Return by what the GAN is better than rivals that make new rows, or worse."""
    gan, others = rows["GAN"]["distance"], {k: v["distance"] for k, v in rows.items() if k in NEW}
    chance = [float(mannwhitneyu(gan.numpy(), other.numpy()).pvalue) for other in others.values()]
    said = []
    for (name, other), p in zip(others.items(), holm(chance), strict=True):
        mine, theirs = gan.quantile(0.5), other.quantile(0.5)
        way = f"is {'better' if mine < theirs else 'worse'} than the {name}"
        if p >= TOLD:
            way = f"is no better than the {name}, as far as {len(gan)} seeds can tell"
            if len(gan) < FEW:
                way = f"cannot be told from the {name} by {len(gan)} seeds: train {FEW} or more"
        said.append(f"By distance the GAN {way}: {mine:.3g} against {theirs:.3g}.")
    return said


def _on_copying(gan: Columns, real: Columns) -> str:
    share, close = (float(gan[key].quantile(0.5)) for key in ("copying", "closeness"))
    numbers = (
        f"{share:.0%} of samples are nearer to a training row than to a held-out one, and the nearest "
        f"training row is {close:.2g} times as far as from unseen rows"
    )
    if share > real["copying"].quantile(1 - TOLD / 2) or close < NEAR:
        return f"It leans to the rows it was trained on: {numbers}. Do not hand samples out as new rows."
    return f"No copying was found: {numbers}. That is no proof of privacy."


# The rivals


def gaussian(train: Tensor) -> Sampled:
    r"""Return the Gaussian of the training rows, by mean and covariance.

    Directions without spread stay without: :math:`x = \bar x + S^{1/2} z`. With more than `WHOLE` features
    the numbers of a row are independent.

    Args:
        train: the rows, ``(n, features)``.
    """
    if train.shape[1] > WHOLE:
        spread, mean = torch.std_mean(train.double(), 0, correction=0)
        return lambda seeds, n, rng: rng.normal(seeds, n, len(mean)).double() * spread + mean
    fit = metrics.fit_gaussian(train.unsqueeze(0))
    values, vectors = torch.linalg.eigh(fit.covariance[0])
    root = vectors * values.clamp(min=0).sqrt()

    def sampled(seeds: int, n: int, rng: Stream) -> Tensor:
        made: Tensor = rng.normal(seeds, n, len(root)).double() @ root.mT + fit.mean
        return made

    return sampled


def mixture(train: Tensor) -> Sampled:
    """Return the mixture of Gaussians with the lowest BIC, of `MODES` modes, whole or diagonal covariances.

    There are more than five rows for each mode.

    Args:
        train: the rows, ``(n, features)``.
    """
    rows = train.double().numpy()
    kinds = ("diag", "full") if rows.shape[1] <= FULL else ("diag",)
    fits = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for modes in (m for m in MODES if m < len(rows) / 5):
            for kind in kinds:
                em = GaussianMixture(modes, covariance_type=kind, reg_covar=1e-3, n_init=2, random_state=0)
                fits.append(em.fit(rows))
    best = min(fits, key=lambda em: em.bic(rows))

    def sampled(seeds: int, n: int, rng: Stream) -> Tensor:
        best.random_state = int(rng.integers(2**31 - 1, 1))
        drawn: Tensor = torch.from_numpy(best.sample(seeds * n)[0])
        mixed: Tensor = drawn[rng.permutation(seeds * n)].view(seeds, n, -1)  # they come mode by mode
        return mixed

    return sampled


def bootstrap(train: Tensor) -> Sampled:
    """Return what draws training rows again, each equally likely.

    A row can come twice, and that is what a classifier tells it by.

    Args:
        train: the rows, ``(n, features)``.
    """

    def sampled(seeds: int, n: int, rng: Stream) -> Tensor:
        return train[rng.integers(len(train), seeds, n)].double()

    return sampled


NEW = ("Gaussian", "mixture")  # those that make rows which nobody has seen

#: What a GAN has to be better than, by name.
RIVALS: dict[str, Callable[[Tensor], Sampled]] = {
    "Gaussian": gaussian,
    "mixture": mixture,
    "bootstrap": bootstrap,
}
