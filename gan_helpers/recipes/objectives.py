"""Ten objectives on four known distributions, after equal tuning and within one budget of arithmetic.

All games have the same networks; all have the same batches, optimiser and averages. Each gets `SETTINGS`
settings, drawn at random from the same ranges, and takes the one whose median distance is least, on seeds
that the table of results does not use. Each takes as many steps as the multiplications of `STEPS` steps of
the plain game allow.

``python -m gan_helpers.recipes.objectives ring hinge`` makes a cell of the table again; started with
``torchrun --nproc-per-node 2 -m``, each process trains its share of the runs.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import Tensor

from gan_helpers import metrics
from gan_helpers.data import Gaussian, GaussianMixture, Normal, StandardNormal, Uniform, grid, ring
from gan_helpers.ensemble import Ensemble
from gan_helpers.equal import MemberAdam, Setting, best, column, of_gradient, settings
from gan_helpers.games import OBJECTIVES, PLAIN, Game, Objective
from gan_helpers.history import NonFiniteLossError
from gan_helpers.mode_metrics import count_modes
from gan_helpers.options import Turns
from gan_helpers.processes import PATIENCE, Processes, are_started, joined
from gan_helpers.randomness import Stream
from gan_helpers.recipes import Recipe, mxnet_gaussian
from gan_helpers.rivals import RIVALS, Rival, fitted, learn, network
from gan_helpers.shares import Share
from gan_helpers.tables import FIRST_SEED, Columns, Table, ledger

STEPS = 2_000  # of the plain game, whose multiplications all get
MOST = 2  # times as many steps as the plain game, and no more
BATCH = 64
EMA = 0.999
SETTINGS = 8  # that each objective is tried with
TRIED = 4  # runs of each setting
RUNS = 16  # runs of each objective on a target, with the setting that was chosen
MORE = 80  # and further ones, made when the text of the first ones was written
MEASURED = ("bell", "tilted", "ring", "grid")  # the targets that the chapter is about
TUNING = 500_000  # added to the base seeds of a table of tuning: no other table has them
SAMPLES, COUNTED = 1_000, 2_500  # how many W1 is taken of, and how many modes are counted in
FEWER = 500  # samples that W1 is taken of while settings are tried
FITTED = 10_000  # samples that maximum likelihood gets
FAR = 1e6  # where samples of a run that has failed are put

HEAPS = ("ring", "grid")  # the targets with modes
SHOWN = ("mmd", "relativistic_r1", "hinge")  # whose samples are kept
# Who loses runs with the setting that it took, and the number of another one.
OTHER_NUMBERS = {
    "bell": (
        4,
        (
            "minimax",
            "non_saturating",
            "least_squares",
            "relativistic_r1",
            "relativistic_r1_r2",
            "non_saturating_r1",
        ),
    ),
    "ring": (6, ("minimax", "least_squares")),
}
# What the penalised critic is tried with besides, up to the weight of its paper, and where.
WEIGHTS = [
    Setting(rate, 2e-3, 0.0, turns, own)
    for own in (0.1, 1.0, 10.0)
    for rate in (5e-4, 2e-3, 5e-3)
    for turns in (1, 5)
]
WEIGHED = ("bell", "ring")

Draw = Callable[[int, Stream], Tensor]


@dataclass(frozen=True)
class Target:
    """A distribution to learn.

    Args:
        data: the distribution.
        noise: what generators start from, with as many features.
        words: what it is.
    """

    data: Normal | Gaussian | GaussianMixture
    noise: Uniform | StandardNormal
    words: str


TARGETS = {
    "bell": Target(Normal(4.0, 1.25), Uniform(0.0, 1.0), "the bell of the fifty lines"),
    "tilted": Target(mxnet_gaussian.REAL, StandardNormal(2), "the tilted Gaussian"),
    "ring": Target(ring(), StandardNormal(2), "a ring of 8"),
    "grid": Target(grid(), StandardNormal(2), "a grid of 25"),
    # A control: what has normal noise by its nature has it from the start.
    "bell_normal": Target(Normal(4.0, 1.25), StandardNormal(1), "the bell, from normal noise"),
}


#: All that is tuned, the ten and what learns without an opponent.
ALL = OBJECTIVES | RIVALS

#: In words, with what is fitted and not tuned.
WORDS = {
    "minimax": "minimax",
    "non_saturating": "non-saturating",
    "least_squares": "least squares",
    "hinge": "hinge",
    "clipped": "Wasserstein, clipped",
    "penalised": "Wasserstein, penalised",
    "mmd": "MMD, no critic",
    "relativistic_r1": "relativistic, $R_1$",
    "relativistic_r1_r2": "relativistic, $R_1$, $R_2$",
    "non_saturating_r1": "non-saturating, $R_1$",
    "vae": "small VAE",
    "matching": "flow matching",
    "flow": "normalising flow",
    "likelihood": "maximum likelihood",
}


def on(target: Target) -> dict[str, Objective]:
    """Return what is tuned and trained on a target: all objectives and rivals that it can be learned by.

    Args:
        target: the target.
    """
    line = target.data.features == 1
    return {k: o for k, o in ALL.items() if isinstance(o, Game) or o.line or not line}


# Arithmetic


def _arithmetic(objective: Objective, target: Target) -> tuple[int, int]:
    """Return the multiplications of an update of D, 0 without one, and of G, for one member."""
    own, features = torch.ones(1), target.data.features
    x, z = (draw(1, BATCH, Stream("counted", 0)) for draw in (target.data, target.noise))
    if isinstance(objective, Rival):
        networks = objective.networks(features, 1, seed=0)
        return 0, of_gradient(lambda: objective.loss(networks, x, z, Stream("counted", 0), own), *networks)
    G, D = players(target, 1, 0)
    return (
        of_gradient(lambda: objective.d_loss(G, D, x, z, own), D),
        of_gradient(lambda: objective.g_loss(G, D, x, z, own), G),
    )


@cache
def steps(objective: Objective, target: Target, d_steps: int = 1) -> int:
    """Return how many steps an objective can take for the multiplications of `STEPS` of the plain game.

    They are at most `MOST` times as many, for what is not counted grows with them.

    Args:
        objective: which.
        target: what it learns.
        d_steps: updates of the critic in a step.
    """
    of_d, of_g = _arithmetic(objective, target)
    budget = STEPS * sum(_arithmetic(PLAIN, target))
    return min(MOST * STEPS, budget // (d_steps * of_d + of_g))


# Training


def players(target: Target, seeds: int, seed: int | None = None) -> tuple[Ensemble, Ensemble]:
    """Return fresh generators and critics for a target, on the CPU: they are small.

    Args:
        target: the target.
        seeds: how many of each.
        seed: the base seed; `gan_helpers.randomness.base_seed` unless given.
    """
    features = target.data.features
    G = Ensemble(partial(network, features, features), seeds, name="G", seed=seed, device="cpu")
    return G, Ensemble(partial(network, features, 1), seeds, name="D", seed=seed, device="cpu")


def _adam(network: Ensemble, of: list[Setting], rate: str, clip: Tensor | None = None) -> MemberAdam:
    """Return the optimiser of a player."""
    return MemberAdam(network, column(of, rate), column(of, "beta1"), clip)


def _recipe(game: Game, target: Target, of: list[Setting]) -> Recipe:
    """Return the recipe of a game, each member of which has a setting of its own."""
    features, own = target.data.features, column(of, "own")
    turns = {setting.d_steps for setting in of}
    if len(turns) != 1:
        raise ValueError(f"of must have one number of d_steps for all members, not {sorted(turns)}.")
    return Recipe(
        G=partial(network, features, features),
        D=partial(network, features, 1),
        data=target.data,
        noise=target.noise,
        d_loss=lambda G, D, x, z: game.d_loss(G, D, x, z, own),
        g_loss=lambda G, D, x, z: game.g_loss(G, D, x, z, own),
        d_opt=lambda D: _adam(D, of, "d_rate", own if game.clips else None),
        g_opt=lambda G: _adam(G, of, "g_rate"),
        steps=steps(game, target, *turns),
        batch=BATCH,
        options={"turns": Turns(d_steps=turns.pop()), "ema": EMA, "on_nonfinite": "go on"},
    )


def trained(
    objective: Objective,
    target: Target,
    of: list[Setting],
    seed: int | None = None,
    processes: Processes | None = None,
) -> Draw:
    """Train members by an objective, each with its own setting, and return what draws from their averages.

    Args:
        objective: which.
        target: what it learns.
        of: the setting of each member; in a game, all with as many updates of the critic.
        seed: the base seed; `gan_helpers.randomness.base_seed` unless given.
        processes: those that share the members out; this one alone if None.

    Returns:
        ``draw(n, rng) -> (seeds, n, features)``.

    Raises:
        ValueError: if the settings differ in the updates of the critic.
    """
    share = Share.whole(len(of)) if processes is None else processes.share(len(of))
    own = of[share.first : share.stop]
    if isinstance(objective, Rival):
        networks = _alone(objective, target, own, share, seed)
        if processes is not None:
            networks = [processes.gathered(network) for network in networks]
        noise = StandardNormal(target.noise.features) if objective.normal else target.noise
        return lambda n, rng: objective.sample(networks, noise(len(of), n, rng), rng)
    G = _averages(_recipe(objective, target, own), share, seed)
    if processes is not None:
        G = processes.gathered(G)
    return lambda n, rng: G(target.noise(len(of), n, rng))


def _averages(recipe: Recipe, share: Share, seed: int | None) -> Ensemble:
    """Return the averaged generators of a game; those of runs that have failed are not finite."""
    G, D = recipe.networks(share, seed, "cpu")
    try:
        history = recipe.train(G, D, seed)
    except NonFiniteLossError:  # none is left
        lost: Ensemble = G.copy()
        for weights in lost.parameters():
            weights.fill_(math.nan)
        return lost
    if history.interrupted:
        history.require_whole()
    averaged: Ensemble = history.averaged
    return averaged


def _alone(rival: Rival, target: Target, of: list[Setting], share: Share, seed: int | None) -> list[Ensemble]:
    """Return the averages of what has learned alone."""
    own, noise = column(of, "own"), StandardNormal(target.noise.features) if rival.normal else target.noise
    networks = rival.networks(target.data.features, share, seed)
    data, start, rng = (Stream(name, seed, members=share) for name in ("data", "noise", "times"))

    def loss() -> Tensor:
        x, z = target.data(len(of), BATCH, data), noise(len(of), BATCH, start)
        return rival.loss(networks, x, z, rng, own)

    return learn(networks, loss, [_adam(n, of, "g_rate") for n in networks], steps(rival, target), EMA)


# Judging


def judged(samples: Tensor, target: Target, seed: int | None = None, n: int = SAMPLES) -> Columns:
    r"""Return how far samples are from a target, each ``(seeds,)``.

    Args:
        samples: ``(seeds, n, features)``; a run with any that is not finite has failed.
        target: the target.
        seed: of the samples of the target that they are held against.
        n: how many of the samples W1 is taken of.

    Returns:
        ``"distance"``: W1 of the first n samples, on the line from the quantiles of the target, in the plane
        from as many samples of it; infinite for a run that has failed. For mixtures also what
        `gan_helpers.mode_metrics.count_modes` says of all samples: a run that has failed has no mode.
    """
    failed = ~samples.isfinite().all((1, 2))
    # What has failed is put where no mode is, for what judges takes finite numbers alone.
    samples = samples.double().masked_fill(failed.view(-1, 1, 1), FAR)
    if isinstance(target.data, Normal):
        distance = metrics.w1(samples[:, :n, 0], target.data)
    else:
        truth = target.data(len(samples), n, Stream("truth", seed))
        distance = metrics.w1_points(samples[:, :n], truth.double())
    found = {"distance": distance.masked_fill(failed, math.inf)}
    if isinstance(target.data, GaussianMixture):
        counts = count_modes(samples, target.data)
        found |= {name: getattr(counts, name) for name in ("modes", "high_quality", "reverse_kl")}
    return found


def _measured(draw: Draw, target: Target, seed: int | None) -> Columns:
    """Return how far the samples that something draws are from a target."""
    with torch.no_grad():
        return judged(draw(COUNTED, Stream("samples", seed)), target, seed, SAMPLES)


def runs(
    objective: Objective,
    target: Target,
    setting: Setting,
    seeds: int,
    seed: int | None = None,
    processes: Processes | None = None,
) -> Columns:
    """Return what runs of an objective come to, as `judged` says.

    Args:
        objective: which.
        target: what it learns.
        setting: that of all runs.
        seeds: how many.
        seed: the base seed; `gan_helpers.randomness.base_seed` unless given.
        processes: those that share the runs out; this one alone if None.
    """
    return _measured(trained(objective, target, [setting] * seeds, seed, processes), target, seed)


# Tuning


def tried(objective: Objective) -> list[Setting]:
    """Return the settings that an objective is tried with: but for its own number, those of all.

    Args:
        objective: which.
    """
    return settings(SETTINGS, objective.powers, Stream("settings", 0))


def tune(objective: Objective, target: Target, seeds: int, seed: int | None = None) -> list[Tensor]:
    """Return how far each setting's runs end from a target, ``(seeds,)``.

    Those with as many updates of the critic are trained side by side, whoever they are.

    Args:
        objective: which.
        target: what it learns.
        seeds: how many runs of each setting.
        seed: the base seed; `gan_helpers.randomness.base_seed` unless given.
    """
    every = tried(objective)
    game = isinstance(objective, Game)
    found: dict[int, Tensor] = {}
    for turns in sorted({s.d_steps for s in every}) if game else [0]:
        group = [i for i, s in enumerate(every) if s.d_steps == turns or not game]
        draw = trained(objective, target, [every[i] for i in group for _ in range(seeds)], seed)
        with torch.no_grad():
            samples = draw(FEWER, Stream("samples", seed))
        found |= dict(zip(group, judged(samples, target, seed, FEWER)["distance"].split(seeds), strict=True))
    return [found[i] for i in range(len(every))]


def tuned(name: str, seeds: int, seed: int) -> Columns:
    """Return the distances of all settings of all that is tuned on a target, as ``"distance_hinge_0"``.

    Args:
        name: one of `TARGETS`.
        seeds: how many runs of each setting.
        seed: the base seed; `TUNING` is added to it.
    """
    return {
        f"distance_{key}_{i}": distance
        for key, objective in on(TARGETS[name]).items()
        for i, distance in enumerate(tune(objective, TARGETS[name], seeds, TUNING + seed))
    }


def chosen(key: str, name: str, among: int = SETTINGS) -> Setting:
    """Return the setting that the committed table of tuning chooses.

    Args:
        key: the objective, one of `ALL`.
        name: the target, one of `TARGETS`.
        among: how many of the settings are looked at, from the first on.
    """
    table = ledger(f"objectives_tuned_{name}")
    return tried(ALL[key])[best([table[f"distance_{key}_{i}"] for i in range(among)])]


# The table of results


def cell(
    key: str, name: str, seeds: int, seed: int | None = None, processes: Processes | None = None
) -> Columns:
    """Return what the runs of one objective on one target come to, with the setting that was chosen.

    Args:
        key: one of `ALL`, or ``"likelihood"``.
        name: one of `TARGETS`.
        seeds: how many runs.
        seed: the base seed; `gan_helpers.randomness.base_seed` unless given.
        processes: those that share the runs out; this one alone if None.

    Raises:
        ValueError: if there is no such objective or target.
    """
    for what, known, given in (("key", [*on(TARGETS["ring"]), "likelihood"], key), ("name", TARGETS, name)):
        if given not in known:
            raise ValueError(f"{what} must be one of {', '.join(known)}, not {given!r}.")
    target = TARGETS[name]
    if key == "likelihood":
        modes = target.data.modes if isinstance(target.data, GaussianMixture) else 1
        x = target.data(seeds, FITTED, Stream("data", seed))
        return _measured(lambda n, rng: fitted(x, modes, n, rng), target, seed)
    return runs(ALL[key], target, chosen(key, name), seeds, seed, processes)


def floor(name: str, seeds: int, seed: int | None = None) -> Columns:
    """Return how far real samples are from a target.

    Args:
        name: one of `TARGETS`.
        seeds: how many times.
        seed: the base seed; `gan_helpers.randomness.base_seed` unless given.
    """
    target = TARGETS[name]
    return _measured(lambda n, rng: target.data(seeds, n, rng), target, seed)


def row(name: str, seeds: int, seed: int) -> Columns:
    """Return the cells of all objectives on a target, as ``"distance_hinge"``, and ``"distance_floor"``.

    Args:
        name: one of `TARGETS`.
        seeds: how many runs of each.
        seed: the base seed.
    """
    cells = {key: cell(key, name, seeds, seed) for key in [*on(TARGETS[name]), "likelihood"]}
    cells["floor"] = floor(name, seeds, seed)
    return {f"{measure}_{key}": values for key, found in cells.items() for measure, values in found.items()}


# Controls


def even(name: str, seeds: int, n: int, seed: int | None = None) -> Tensor:
    """Return samples of a shape without modes: the circle of the ring's, or a square around the grid's.

    Args:
        name: "ring" or "grid".
        seeds: how many times.
        n: how many samples.
        seed: the base seed; `gan_helpers.randomness.base_seed` unless given.
    """
    u = Stream("even", seed).uniform(seeds, n, 2)
    if name == "grid":
        return 10 * u - 5
    angle = 2 * math.pi * u[..., 0]
    return torch.stack((angle.cos(), angle.sin()), 2)


def without_modes(seeds: int, seed: int) -> Columns:
    """Return how far shapes without modes are from targets that have some, as ``"distance_ring"``.

    Args:
        seeds: how many draws.
        seed: the base seed.
    """
    found = {name: judged(even(name, seeds, COUNTED, seed), TARGETS[name], seed, SAMPLES) for name in HEAPS}
    return {f"{measure}_{name}": v for name, columns in found.items() for measure, v in columns.items()}


def drawn(samples: int, seed: int) -> Columns:
    """Return what one run drew, a sample in a row: of `SHOWN`, the run in the middle of the first `RUNS`.

    Args:
        samples: how many.
        seed: the base seed of the runs.

    Returns:
        ``"x1_ring_mmd"`` and so on, each ``(samples,)``.
    """
    columns: Columns = {}
    for name in HEAPS:
        for key in SHOWN:
            draw = trained(ALL[key], TARGETS[name], [chosen(key, name)] * RUNS, seed)
            with torch.no_grad():
                x = draw(COUNTED, Stream("samples", seed))
            middle = judged(x, TARGETS[name], seed, SAMPLES)["distance"].median(0).indices
            columns |= {f"x{i + 1}_{name}_{key}": x[middle, :samples, i] for i in range(2)}
    return columns


def _far(key: str, name: str, setting: Setting, seeds: int, seed: int) -> Tensor:
    """Return how far runs of an objective end with some setting."""
    return runs(ALL[key], TARGETS[name], setting, seeds, seed)["distance"]


def other_numbers(seeds: int, seed: int) -> Columns:
    """Return how far games end with a setting that the tuning did not take, as ``"distance_bell_minimax"``.

    Args:
        seeds: how many runs of each.
        seed: the base seed.
    """
    return {
        f"distance_{name}_{key}": _far(key, name, tried(ALL[key])[number - 1], seeds, seed)
        for name, (number, keys) in OTHER_NUMBERS.items()
        for key in keys
    }


def tried_weights(seeds: int, seed: int) -> Columns:
    """Return how far the penalised critic ends with each of `WEIGHTS`, as ``"distance_bell_0"``.

    Args:
        seeds: how many runs of each setting.
        seed: the base seed; `TUNING` is added to it.
    """
    return {
        f"distance_{name}_{i}": _far("penalised", name, setting, seeds, TUNING + seed)
        for name in WEIGHED
        for i, setting in enumerate(WEIGHTS)
    }


def weight(name: str) -> Setting:
    """Return the one of `WEIGHTS` that the committed table chooses.

    Args:
        name: "bell" or "ring".
    """
    table = ledger("objectives_tried_weights")
    return WEIGHTS[best([table[f"distance_{name}_{i}"] for i in range(len(WEIGHTS))])]


def weights(seeds: int, seed: int) -> Columns:
    """Return how far the penalised critic ends with the best of `WEIGHTS`, as ``"distance_bell"``.

    Args:
        seeds: how many runs.
        seed: the base seed.
    """
    return {f"distance_{name}": _far("penalised", name, weight(name), seeds, seed) for name in WEIGHED}


def tables(*names: str, more: int = MORE) -> dict[str, Table]:
    """Return the tables of some targets, ``"tuned_ring"`` with the tuning and ``"ring"`` with the results.

    Args:
        names: some of `TARGETS`. The table of tuning has to be made first.
        more: runs that the results have beyond the first `RUNS`.
    """
    results = {name: Table(partial(row, name), RUNS + more, ensemble=RUNS) for name in names}
    return results | {f"tuned_{name}": Table(partial(tuned, name), TRIED, ensemble=TRIED) for name in names}


#: The controls are shapes without modes, samples of three of the ten, other numbers, other penalty weights.
CONTROLS = {
    "even": Table(without_modes, RUNS + MORE, ensemble=RUNS),
    "drawn": Table(drawn, 400, ensemble=400),
    "others": Table(other_numbers, 2 * RUNS, ensemble=RUNS),
    "tried_weights": Table(tried_weights, TRIED, ensemble=TRIED),
    "weights": Table(weights, 2 * RUNS, ensemble=RUNS),
}

TABLES = tables(*MEASURED) | tables("bell_normal", more=RUNS) | CONTROLS


def main() -> None:
    """Make a cell of the table again, and print it beside what is stored."""
    parser = argparse.ArgumentParser(prog="python -m gan_helpers.recipes.objectives", description=__doc__)
    add = parser.add_argument
    add("target", choices=TARGETS)
    add("objective", choices=[*ALL, "likelihood"])
    add("--seeds", type=int, default=16, help="runs trained together (default: %(default)s, as in the table)")
    add("--seed", type=int, default=FIRST_SEED, help="base seed (default: %(default)s, the table's first)")
    args = parser.parse_args()
    wanted = args.objective, args.target, args.seeds, args.seed
    if not are_started():
        _print_beside_stored(args.target, args.objective, cell(*wanted))
        return
    with joined(PATIENCE) as processes:
        found = cell(*wanted, processes)
        if processes.is_first:
            _print_beside_stored(args.target, args.objective, found)


def _print_beside_stored(target: str, objective: str, found: Columns) -> None:
    table = ledger(f"objectives_{target}")
    for measure, values in found.items():
        stored = table[f"{measure}_{objective}"]
        ends = f"{stored.nanmedian():.4g} ({stored.min():.4g} to {stored.max():.4g})"
        print(f"{measure}: " + " ".join(f"{v:.4g}" for v in values.tolist()))
        print(f"    median {values.median():.4g}; stored: {ends} over {len(stored)} runs")


if __name__ == "__main__":
    main()
