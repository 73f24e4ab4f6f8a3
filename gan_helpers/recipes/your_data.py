"""Three small data sets of scikit-learn, learned as readers learn their own, and what leaks of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from sklearn import datasets
from torch import Tensor

from gan_helpers import your_data
from gan_helpers.data import Resample, StandardNormal
from gan_helpers.device import default_device
from gan_helpers.ensemble import Ensemble
from gan_helpers.generators import Generators
from gan_helpers.judging import membership, report
from gan_helpers.randomness import Stream
from gan_helpers.results import Shown, results_table
from gan_helpers.tables import Columns, Table, ledger
from gan_helpers.training import adam, fading, train
from gan_helpers.your_data import Rows, Split

STEPS = 1_000  # of all runs
TRAINED = 60  # rows of the small part that is learned by heart
SAMPLES = 1_000  # that an attack looks at


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


def digits() -> Rows:
    """Return 1,797 images of digits, 8 by 8 pixels, with grey levels from 0 to 16."""
    return your_data.images(datasets.load_digits().images.astype(int), brightest=16)


DATA: dict[str, Callable[[], Rows]] = {"diabetes": diabetes, "wine": wine, "digits": digits}


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
    "W1": "distance", "coverage": "coverage", "told": "told", "closeness": "closeness",
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


# What leaks

#: How much is learned by heart, as the share that is held out and the weight of the penalty.
SETTINGS = {
    "usual": (your_data.HELD_OUT, your_data.GAMMA),
    "few": (1 - TRAINED / 442, your_data.GAMMA),
    "bare": (1 - TRAINED / 442, 0.0),
}

#: They, in words.
WORDS = {
    "usual": "295 rows to learn from",
    "few": "60 rows",
    "bare": "60 rows, without $R_1$ and $R_2$",
}


def leaked() -> Shown:
    """Return what generators and discriminators give away, over all runs of the table."""
    columns = ledger("your_data_leaks")
    rows = {w: {who: columns[f"{who}_{n}"] for who in ("samples", "critic")} for n, w in WORDS.items()}
    return results_table(rows, {"right by samples": "samples", "right by $D$": "critic"})


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
    device, z = default_device(), StandardNormal(parts.units.features)
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


def leaks(seeds: int, seed: int) -> Columns:
    """Return what generators and discriminators of patients give away, by all `SETTINGS`.

    Args:
        seeds: how many.
        seed: the base seed.

    Returns:
        How well samples tell which rows were trained on, ``"samples_few"``, and how well discriminators do,
        ``"critic_few"``. 1/2 is guessing. Each is ``(seeds,)``.
    """
    rows, found = diabetes(), {}
    for name, (held_out, gamma) in SETTINGS.items():
        parts = your_data.split(rows, held_out, seed)
        G, D = trained(parts, seeds, seed, gamma)
        made = parts.units.rounded(G.samples(SAMPLES, Stream("attacked", seed)).double().cpu())
        found[f"samples_{name}"] = membership(made, parts.train, parts.held_out)
        found[f"critic_{name}"] = told_by(D, parts.train, parts.held_out)
    return found


TABLES = {
    "digits": Table(partial(judged, "digits"), 8, ensemble=8),
    "diabetes": Table(partial(judged, "diabetes"), 16, ensemble=8),
    "leaks": Table(leaks, 8, ensemble=8),
}
