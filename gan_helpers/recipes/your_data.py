"""Small data sets, learned as readers learn their own: how good the samples are, and what leaks of the rows.

All but one ship with scikit-learn; the other is made of sine curves.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn import datasets
from torch import Tensor

from gan_helpers import your_data
from gan_helpers.data import Resample, Sinusoids
from gan_helpers.device import default_device
from gan_helpers.ensemble import Ensemble
from gan_helpers.generators import Generators
from gan_helpers.judging import gaussian, measured, membership, mixture, report
from gan_helpers.randomness import Stream
from gan_helpers.results import Shown, results_table
from gan_helpers.tables import Columns, Table, ledger
from gan_helpers.training import adam, fading, train
from gan_helpers.your_data import Rows, Split

STEPS = 1_000  # unless others are named
LENGTHS = (300, 1_000, 3_000)  # steps of runs that are compared by their length
TRAINED, MIDDLE = 60, 150  # rows of small parts that are learned by heart
SAMPLES = 1_000  # that an attack looks at
PIXELS, CURVES = 2_000, 600  # rows that are drawn


# The data


def diabetes() -> Rows:
    """Return 442 patients: ten measurements, one of them a category, and how the disease went on."""
    found = datasets.load_diabetes(scaled=False)
    columns = dict(zip(found.feature_names, found.data.T, strict=True)) | {"progress": found.target}
    columns["age"] = columns["age"].astype(int)
    columns["sex"] = np.where(columns["sex"] == 1, "one", "other")
    return your_data.table(columns)


def wine() -> Rows:
    """Return 178 wines of three growers: thirteen measurements, and the grower."""
    found = datasets.load_wine()
    columns = dict(zip(found.feature_names, found.data.T, strict=True))
    return your_data.table(columns | {"grower": found.target_names[found.target]})


def iris() -> Rows:
    """Return 150 flowers: four measurements, and the species."""
    found = datasets.load_iris()
    columns = dict(zip(found.feature_names, found.data.T, strict=True))
    return your_data.table(columns | {"species": found.target_names[found.target]})


def cancer() -> Rows:
    """Return 569 tumours: thirty measurements, and whether they are malignant."""
    found = datasets.load_breast_cancer()
    columns = dict(zip(found.feature_names, found.data.T, strict=True))
    return your_data.table(columns | {"diagnosis": found.target_names[found.target]})


def colours() -> Rows:
    """Return the colours of 2,000 pixels of a photograph: red, green and blue, from 0 to 255."""
    pixels = datasets.load_sample_image("china.jpg").reshape(-1, 3)
    return your_data.array(pixels[Stream("pixels", 0).permutation(len(pixels))[:PIXELS].numpy()].astype(int))


def waves() -> Rows:
    """Return 600 sine curves with 64 points; see `gan_helpers.data.Sinusoids`."""
    return your_data.curves(Sinusoids()(1, CURVES, Stream("curves", 0))[0])


def digits() -> Rows:
    """Return 1,797 images of digits, 8 by 8 pixels, with grey levels from 0 to 16."""
    return your_data.images(datasets.load_digits().images.astype(int), brightest=16)


DATA: dict[str, Callable[[], Rows]] = {
    "diabetes": diabetes, "wine": wine, "iris": iris, "cancer": cancer, "colours": colours, "waves": waves,
    "digits": digits,
}  # fmt: skip


def judged(name: str, seeds: int, seed: int) -> Columns:
    """Return what generators of a data set, their rivals and real rows come to.

    Args:
        name: of `DATA`.
        seeds: how many generators, which learn from one part of the rows.
        seed: the base seed; it also says which part.

    Returns:
        Each measure of each row of the report, such as ``"distance_gaussian"``, ``(seeds,)``.
    """
    rows = DATA[name]()
    found = report(your_data.fit(rows, seeds, STEPS, seed=seed, progress=False), rows, seed)
    return {
        f"{measure}_{row.lower()}": values[:seeds].double()
        for row, columns in (found.rows | {"real": found.real}).items()
        for measure, values in columns.items()
    }


#: The measures that are shown of a table, by the words above their columns.
SHOWN = {
    "$W_1$": "distance", "coverage": "coverage", "told": "told", "closeness": "closeness",
    "membership": "membership", "passes": "passes",
}  # fmt: skip


def told(name: str) -> Shown:
    """Return what the report says of a data set, over all runs of its table.

    Args:
        name: of `DATA`.
    """
    columns, rows = ledger(f"your_data_{name}"), ("GAN", "Gaussian", "mixture", "bootstrap", "real")
    found = {}
    for row in rows:
        mine = {m: columns[key] for m in SHOWN.values() if (key := f"{m}_{row.lower()}") in columns}
        if "passes" in mine:
            mine["passes"] = mine["passes"] > 0
        found["real rows" if row == "real" else row] = mine
    return results_table(found, SHOWN)


def by_set() -> Shown:
    """Return how far generators, their rivals and real rows are, for each of `DATA`."""
    rows = {name: ledger(f"your_data_{name}") for name in DATA}
    who = ("GAN", "Gaussian", "mixture", "bootstrap", "real")
    return results_table(rows, {name: f"distance_{name.lower()}" for name in who})


# What leaks

#: What is attacked, as the share that is held out, the weight of the penalty, and the steps.
SETTINGS = {
    "usual": (your_data.HELD_OUT, your_data.GAMMA, STEPS),
    "middle": (1 - MIDDLE / 442, your_data.GAMMA, STEPS),
    "few": (1 - TRAINED / 442, your_data.GAMMA, STEPS),
    "bare": (1 - TRAINED / 442, 0.0, STEPS),
    "brief": (1 - TRAINED / 442, your_data.GAMMA, LENGTHS[0]),
}

#: They, in words.
WORDS = {
    "usual": "295 rows to learn from",
    "middle": "150 rows",
    "few": "60 rows",
    "bare": "60 rows, without $R_1$ and $R_2$",
    "brief": "60 rows, 300 steps",
}

#: Who tells, by the words above the columns.
TELLERS = {
    "samples": "samples", "those of a Gaussian": "gaussian", "$D$": "critic", "$D$ among unseen": "unseen",
}  # fmt: skip


def leaked() -> Shown:
    """Return what generators and discriminators give away, over all runs of the table."""
    columns = ledger("your_data_leaks")
    rows = {words: {who: columns[f"{who}_{n}"] for who in TELLERS.values()} for n, words in WORDS.items()}
    return results_table(rows, TELLERS)


def trained(
    parts: Split, seeds: int, seed: int | None, gamma: float, steps: int = STEPS
) -> tuple[Generators, Ensemble]:
    """Return generators as `gan_helpers.your_data.fit` does, and the discriminators that taught them.

    Args:
        parts: the rows.
        seeds: how many.
        seed: the base seed.
        gamma: the weight of the penalty on the slope of D; there is none at 0.
        steps: how many.
    """
    device, z = default_device(), your_data.usual_noise(parts.units)
    made = {
        "G": lambda: your_data.generator(parts.units, z.features),
        "D": lambda: your_data.discriminator(parts.units),
    }
    G, D = (Ensemble(make, seeds, name=name, seed=seed, device=device) for name, make in made.items())
    history = train(
        G, D, Resample(parts.train.to(device)), z,
        d_loss=partial(your_data.d_loss, gamma=gamma), g_loss=your_data.g_loss,
        d_opt=fading(adam(D, your_data.RATE, (0.0, 0.99)), steps),
        g_opt=fading(adam(G, your_data.RATE, (0.0, 0.99)), steps),
        steps=steps, batch=your_data.BATCH, ema=your_data.EMA, seed=seed, progress=False,
    )  # fmt: skip
    return Generators(history.require_whole().averaged.eval(), z, parts.units, parts.origin), D.eval()


@torch.no_grad()
def told_by(D: Ensemble, train: Tensor, held_out: Tensor) -> Tensor:
    """Return how often discriminators like a training row better than a held-out one, ``(seeds,)``.

    Args:
        D: the discriminators.
        train: rows that they were trained on, ``(m, features)``.
        held_out: rows that they were not, ``(k, features)``.
    """
    weight = next(D.parameters())
    t, h = (D(rows.to(weight).expand(D.seeds, -1, -1)).squeeze(2) for rows in (train, held_out))
    gap: Tensor = t.unsqueeze(2) - h.unsqueeze(1)
    return ((gap.sign() + 1) / 2).mean((1, 2)).double().cpu()


def attacked(G: Generators, D: Ensemble, parts: Split, seed: int | None) -> Columns:
    """Return how often a row that was trained on is told from one that was not; 1/2 is guessing.

    Args:
        G: the generators.
        D: their discriminators.
        parts: the rows.
        seed: of the stream that samples come from.

    Returns:
        How often it is told by samples, by as many of a Gaussian of the same rows, and by discriminators; and
        how often these tell one half of the held-out rows from the other. Each is ``(seeds,)``.
    """
    made = G.samples(SAMPLES, Stream("attacked", seed)).double().cpu()
    plain = gaussian(parts.train)(G.seeds, SAMPLES, Stream("attacked/Gaussian", seed))
    one, other = parts.held_out.tensor_split(2)
    return {
        "samples": membership(parts.units.rounded(made), parts.train, parts.held_out),
        "gaussian": membership(parts.units.rounded(plain), parts.train, parts.held_out),
        "critic": told_by(D, parts.train, parts.held_out),
        "unseen": told_by(D, one, other),
    }


def leaks(seeds: int, seed: int) -> Columns:
    """Return what generators and discriminators of patients give away, by all `SETTINGS`.

    Args:
        seeds: how many.
        seed: the base seed.

    Returns:
        What `attacked` does, by setting, such as ``"samples_few"``; each is ``(seeds,)``.
    """
    rows, found = diabetes(), Columns()
    for name, (held_out, gamma, steps) in SETTINGS.items():
        parts = your_data.split(rows, held_out, seed)
        told = attacked(*trained(parts, seeds, seed, gamma, steps), parts, seed)
        found |= {f"{who}_{name}": values for who, values in told.items()}
    return found


def lengths(name: str, seeds: int, seed: int) -> Columns:
    """Return what generators of a data set come to, and what leaks, by how many steps they take.

    Args:
        name: of `DATA`.
        seeds: how many.
        seed: the base seed.

    Returns:
        Measures of the report and what `attacked` does, such as ``"distance_300"``; each is ``(seeds,)``.
    """
    rows, found = DATA[name](), Columns()
    parts = your_data.split(rows, seed=seed)
    for steps in LENGTHS:
        G, D = trained(parts, seeds, seed, your_data.GAMMA, steps)
        told = report(G, rows, seed).rows["GAN"] | attacked(G, D, parts, seed)
        found |= {f"{measure}_{steps}": values.double() for measure, values in told.items()}
    return found


PULLS = (100, 85, 70)  # per cent of their spread that samples keep


def pulled(name: str, seeds: int, seed: int) -> Columns:
    """Return what samples of a Gaussian and of a mixture come to if they are pulled towards the mean.

    Args:
        name: of `DATA`.
        seeds: how many sets of samples.
        seed: the base seed; it also says which part of the rows is held out.

    Returns:
        Measures of the report, such as ``"distance_gaussian_85"`` for 85 % of the spread, ``(seeds,)``.
    """
    parts, found = your_data.split(DATA[name](), seed=seed), Columns()
    mean = parts.train.double().mean(0)
    for row, rival in {"gaussian": gaussian(parts.train), "mixture": mixture(parts.train)}.items():
        for kept in PULLS:

            def draw(seeds: int, n: int, rng: Stream, rival: Any = rival, kept: int = kept) -> Tensor:
                return torch.lerp(mean, rival(seeds, n, rng).double(), kept / 100)

            told = measured(parts, draw, seeds, seed)
            found |= {f"{key}_{row}_{kept}": told[key] for key in ("distance", "density", "coverage", "told")}
    return found


#: What is shown of runs of several lengths, by the words above the columns.
SHOWN_BY_LENGTH = {
    "$W_1$": "distance", "coverage": "coverage", "told": "told", "passes": "passes",
    "right by samples": "samples", "right by $D$": "critic",
}  # fmt: skip


def by_length(name: str) -> Shown:
    """Return what generators of several lengths come to and what they give away, and what rivals do.

    Args:
        name: of `DATA`, one that has a table of lengths.
    """
    longer, plain = ledger(f"your_data_{name}_steps"), ledger(f"your_data_{name}")
    rows = {
        f"GAN, {steps:,} steps": {key: longer[f"{key}_{steps}"] for key in SHOWN_BY_LENGTH.values()}
        for steps in LENGTHS
    }
    for row in ("Gaussian", "mixture", "bootstrap", "real"):
        keys = {key: f"{key}_{row.lower()}" for key in SHOWN_BY_LENGTH.values()}
        words = "real rows" if row == "real" else row
        rows[words] = {key: plain[column] for key, column in keys.items() if column in plain}
    rows["Gaussian"]["samples"] = longer[f"gaussian_{STEPS}"]
    for columns in rows.values():
        if "passes" in columns:
            columns["passes"] = columns["passes"] > 0
    return results_table(rows, SHOWN_BY_LENGTH)


TABLES = {
    "digits": Table(partial(judged, "digits"), 8, ensemble=8),
    "diabetes": Table(partial(judged, "diabetes"), 16, ensemble=8),
    "leaks": Table(leaks, 8, ensemble=8),
    "diabetes_steps": Table(partial(lengths, "diabetes"), 16, ensemble=8),
    "diabetes_pulled": Table(partial(pulled, "diabetes"), 16, ensemble=8),
    "digits_pulled": Table(partial(pulled, "digits"), 8, ensemble=8),
    "digits_steps": Table(partial(lengths, "digits"), 8, ensemble=8),
} | {
    name: Table(partial(judged, name), 8, ensemble=8)
    for name in ("wine", "iris", "cancer", "colours", "waves")
}
