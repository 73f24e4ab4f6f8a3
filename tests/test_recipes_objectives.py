"""All objectives get the same: losses are the package's, budgets and settings are equal, the judge is one."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from gan_helpers import Ensemble, Stream, losses, metrics
from gan_helpers.data import StandardNormal
from gan_helpers.equal import MemberAdam, Setting, column
from gan_helpers.games import OBJECTIVES, PLAIN, Game
from gan_helpers.mode_metrics import count_modes
from gan_helpers.recipes import fifty_lines, mxnet_gaussian
from gan_helpers.recipes import objectives as chapter
from gan_helpers.recipes.objectives import ALL, TARGETS
from gan_helpers.rivals import RIVALS, Networks
from tests.chapters import Chapter
from tests.plain_gan import numbers
from tests.test_device import META, OneDevice

RING = TARGETS["ring"]
OWN = torch.tensor([0.5, 2.0])
SETTING = Setting(1e-3, 2e-3, 0.5, 1, 0.3)
GAMES = {key: objective for key, objective in OBJECTIVES.items() if isinstance(objective, Game)}
each_target = pytest.mark.parametrize("name", TARGETS)


def players() -> tuple[Ensemble, Ensemble, Tensor, Tensor]:
    G, D = chapter._recipe(PLAIN, RING, [SETTING] * 2).networks(2, seed=3, device="cpu")
    return G, D, numbers(2, 5, 2).float(), numbers(2, 5, 2, seed=1).float()


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A few steps of the plain game instead of all, and few samples."""
    for name, value in {"STEPS": 12, "SAMPLES": 100, "COUNTED": 200}.items():
        monkeypatch.setattr(chapter, name, value)
    chapter.steps.cache_clear()
    yield
    chapter.steps.cache_clear()


# Objectives

Loss = Callable[[Ensemble, Ensemble, Tensor, Tensor], Tensor]


def slopes(D: Ensemble, x: Tensor) -> Tensor:
    """The squared slope at each sample."""
    x = x.detach().requires_grad_()
    (slope,) = torch.autograd.grad(D(x).sum(), x)
    return slope.square().sum(2)


def r1_of(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
    return OWN / 2 * slopes(D, x).mean(1)


def hinge(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
    return losses.hinge_d(D(x), D(G(z)))


def minimax(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
    return losses.minimax_d(D(x), D(G(z)))


def wasserstein(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
    return losses.wasserstein_d(D(x), D(G(z)))


def relativistic(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
    return losses.relativistic_d(D(x), D(G(z)))


def penalised(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
    u = Stream("D/dropout", 3).uniform(2, 5, 1)
    slope = slopes(D, u * x + (1 - u) * G(z)).sqrt()
    return wasserstein(G, D, x, z) + OWN * (slope - 1).square().mean(1)


D_LOSSES: dict[str, Loss] = {
    "minimax": minimax,
    "non_saturating": minimax,
    "least_squares": lambda G, D, x, z: losses.least_squares_d(D(x), D(G(z))),
    "hinge": hinge,
    "clipped": wasserstein,
    "penalised": penalised,
    "relativistic_r1": lambda *a: relativistic(*a) + r1_of(*a),
    "relativistic_r1_r2": lambda G, D, x, z: (
        relativistic(G, D, x, z) + OWN / 2 * (slopes(D, x) + slopes(D, G(z))).mean(1)
    ),
    "non_saturating_r1": lambda *a: minimax(*a) + r1_of(*a),
}
G_LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "minimax": losses.minimax_g,
    "non_saturating": losses.non_saturating_g,
    "least_squares": losses.least_squares_g,
    "hinge": losses.wasserstein_g,
    "clipped": losses.wasserstein_g,
    "penalised": losses.wasserstein_g,
    "non_saturating_r1": losses.non_saturating_g,
}


@pytest.mark.parametrize("key", GAMES)
def test_each_loss_is_that_of_the_package_with_the_number_of_its_seed(key: str) -> None:
    G, D, x, z = players()
    torch.testing.assert_close(GAMES[key].d_loss(G, D, x, z, OWN), D_LOSSES[key](G, D, x, z))
    of_g = GAMES[key].g_loss(G, D, x, z, OWN)
    if key.startswith("relativistic"):
        torch.testing.assert_close(of_g, losses.relativistic_g(D(x), D(G(z))))
    else:
        torch.testing.assert_close(of_g, G_LOSSES[key](D(G(z))))


@pytest.mark.parametrize("key", GAMES)
def test_no_critic_moves_its_generator(key: str) -> None:
    G, D, x, z = players()
    loss = GAMES[key].d_loss(G, D, x, z, OWN).sum()
    found = torch.autograd.grad(loss, [*G.parameters()], allow_unused=True)
    assert found == (None,) * len(found)


def test_there_are_ten_each_with_words_and_those_with_a_number_say_what_it_is() -> None:
    assert len(OBJECTIVES) == 10 and len(ALL) == 13
    assert set(chapter.WORDS) == {*ALL, "likelihood"}
    for key, objective in ALL.items():
        low, high = objective.powers
        assert bool(objective.own) == (low < high), key
    assert [key for key, game in GAMES.items() if game.clips] == ["clipped"]
    assert OBJECTIVES["mmd"] is RIVALS["mmd"]


# Equal arithmetic


def test_the_plain_game_is_counted_as_by_hand() -> None:
    """Widths 64 and 64, a batch of 64; two features in, two or one out."""
    batch, one, two, three, last = chapter.BATCH, 2 * 64, 64 * 64, 64 * 2, 64
    of_g, of_d = one + two + three, one + two + last
    critic = of_g + 2 * of_d + 2 * (2 * of_d - one)  # G; D of both; back, but not to samples
    generator = of_g + of_d + of_d + (2 * of_g - one)  # back through D to its samples, and all of G
    assert chapter._arithmetic(PLAIN, RING) == (batch * critic, batch * generator)


@each_target
@pytest.mark.parametrize("d_steps", [1, 2, 5])
def test_each_gets_as_many_steps_as_its_arithmetic_allows(name: str, d_steps: int) -> None:
    target = TARGETS[name]
    budget = chapter.STEPS * sum(chapter._arithmetic(PLAIN, target))
    assert chapter.steps(PLAIN, target, 1) == chapter.STEPS
    for key, objective in chapter.on(target).items():
        of_d, of_g = chapter._arithmetic(objective, target)
        made = chapter.steps(objective, target, d_steps)
        spent = made * (d_steps * of_d + of_g)
        assert spent <= budget, key
        assert made == 2 * chapter.STEPS or spent > 0.98 * budget, key
        assert (of_d == 0) == (key in RIVALS)


def test_a_penalty_and_more_turns_cost_steps() -> None:
    def made(key: str, d_steps: int = 1) -> int:
        return chapter.steps(OBJECTIVES[key], RING, d_steps)

    assert made("relativistic_r1_r2") < made("relativistic_r1") < made("non_saturating_r1") < made("hinge")
    assert made("hinge", 5) < made("hinge", 2) < made("hinge")
    assert made("mmd") > made("hinge") == made("clipped") == made("minimax")


# Targets and judge


def test_targets_are_those_of_the_chapters() -> None:
    assert TARGETS["bell"].data == fifty_lines.REAL and TARGETS["bell"].noise == fifty_lines.NOISE
    normal = TARGETS["bell_normal"]
    assert normal.data == fifty_lines.REAL and normal.noise == StandardNormal(1)
    assert TARGETS["tilted"].data is mxnet_gaussian.REAL
    assert [TARGETS[name].data.modes for name in ("ring", "grid")] == [8, 25]  # type: ignore[union-attr]
    assert all(target.noise.features == target.data.features for target in TARGETS.values())
    assert "flow" not in chapter.on(TARGETS["bell"]) and "flow" in chapter.on(RING)


@each_target
def test_samples_are_judged_by_distance_and_modes(name: str) -> None:
    target = TARGETS[name]
    x = target.data(2, 300, Stream("test", 1))
    found = chapter.judged(x, target, 7, 200)
    if target.data.features == 1:
        expected = metrics.w1(x[:, :200, 0], fifty_lines.REAL)
    else:
        expected = metrics.w1_points(x[:, :200], target.data(2, 200, Stream("truth", 7)))
    torch.testing.assert_close(found.pop("distance"), expected)
    assert set(found) == ({"modes", "high_quality", "reverse_kl"} if name in ("ring", "grid") else set())
    for measure, values in found.items():
        assert torch.equal(values, getattr(count_modes(x, target.data), measure))  # type: ignore[arg-type]


@each_target
def test_a_run_that_failed_is_infinitely_far_and_has_no_mode(name: str) -> None:
    target = TARGETS[name]
    x = target.data(3, 40, Stream("test", 1))
    sound = chapter.judged(x, target, 7, 30)
    x[1, 5], x[2, 35] = math.nan, math.inf  # the last one lies behind those that W1 is taken of
    found = chapter.judged(x, target, 7, 30)
    assert found["distance"][1:].tolist() == [math.inf] * 2
    for measure, values in found.items():
        assert values[0] == sound[measure][0]
    if "modes" in found:
        k = target.data.modes  # type: ignore[union-attr]
        assert found["modes"][1:].tolist() == found["high_quality"][1:].tolist() == [0, 0]
        assert found["reverse_kl"][1:].tolist() == pytest.approx([math.log(k)] * 2)


# Training


@pytest.mark.parametrize("key", ["clipped", "relativistic_r1_r2", "mmd", "vae", "flow"])
def test_members_are_trained_by_their_own_settings_and_a_lost_one_is_infinitely_far(
    key: str, few: None
) -> None:
    hopeless = Setting(1e30, 1e30, 0.5, 1, 0.3)
    of = [SETTING, hopeless], [SETTING, SETTING]
    broken, whole = (
        chapter._measured(chapter.trained(ALL[key], RING, members, 5), RING, 5)["distance"] for members in of
    )
    assert broken[0] == whole[0] < math.inf and broken[1] == math.inf > whole[1]


def test_if_all_are_lost_all_are_infinitely_far(few: None) -> None:
    hopeless = [Setting(1e30, 1e30, 0.5, 1, 0.3)] * 2
    found = chapter._measured(chapter.trained(PLAIN, RING, hopeless, 5), RING, 5)
    assert found["distance"].tolist() == [math.inf] * 2


def test_a_games_recipe_has_what_its_settings_say() -> None:
    of = [Setting(1e-3, 2e-3, 0.5, 5, 0.1), Setting(3e-3, 4e-3, 0.9, 5, 0.2)]
    recipe = chapter._recipe(GAMES["clipped"], RING, of)
    G, D = recipe.networks(2, 0)
    of_d, of_g = recipe.d_opt(D), recipe.g_opt(G)
    assert isinstance(of_d, MemberAdam) and isinstance(of_g, MemberAdam)
    assert torch.equal(of_d.defaults["rate"], column(of, "d_rate"))
    assert torch.equal(of_g.defaults["rate"], column(of, "g_rate"))
    assert torch.equal(of_d.defaults["clip"], column(of, "own")) and of_g.defaults["clip"] is None
    assert all(torch.equal(o.defaults["beta1"], column(of, "beta1")) for o in (of_d, of_g))
    assert recipe.options["turns"].d_steps == 5 and recipe.options["ema"] == chapter.EMA
    assert (recipe.batch, recipe.steps) == (64, chapter.steps(GAMES["clipped"], RING, 5))
    with pytest.raises(ValueError, match=r"one number of d_steps for all members, not \[1, 5\]"):
        chapter._recipe(GAMES["hinge"], RING, [SETTING, of[0]])


def test_generators_on_the_bell_start_from_its_noise_and_codes_from_normal_noise(few: None) -> None:
    seen: dict[str, list[Tensor]] = {"mmd": [], "vae": []}

    def watched(key: str, networks: Networks, x: Tensor, z: Tensor, *more: Any) -> Tensor:
        seen[key].append(z.min())
        return RIVALS[key].loss(networks, x, z, *more)

    for key in seen:
        chapter.trained(replace(RIVALS[key], loss=partial(watched, key)), TARGETS["bell"], [SETTING], 1)
    assert min(seen["mmd"]) >= 0 > min(seen["vae"])


# Tuning


def test_all_are_tried_with_the_same_rates() -> None:
    every = {key: chapter.tried(objective) for key, objective in ALL.items()}
    assert {len(found) for found in every.values()} == {chapter.SETTINGS}
    shared = {key: [(s.g_rate, s.d_rate, s.beta1, s.d_steps) for s in found] for key, found in every.items()}
    assert all(found == shared["hinge"] for found in shared.values())
    low, high = (10**power for power in OBJECTIVES["penalised"].powers)
    assert all(low <= s.own <= high for s in every["penalised"])


@pytest.mark.parametrize("key", ["hinge", "matching"])
def test_settings_come_back_in_their_order(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is trained side by side, the first number is that of the first setting."""
    every = chapter.tried(ALL[key])

    def trained(objective: object, target: object, of: list[Setting], seed: int) -> Callable[..., Tensor]:
        assert not isinstance(objective, Game) or len({s.d_steps for s in of}) == 1
        places = torch.tensor([1.0 + every.index(s) for s in of])
        return lambda n, rng: places.view(-1, 1, 1).expand(-1, n, 2)

    monkeypatch.setattr(chapter, "trained", trained)
    monkeypatch.setattr(chapter, "judged", lambda samples, target, seed, n: {"distance": samples[:, 0, 0]})
    found = chapter.tune(ALL[key], RING, 3, 0)
    assert [values.tolist() for values in found] == [[1.0 + i] * 3 for i in range(chapter.SETTINGS)]


def test_the_table_of_tuning_has_other_seeds_than_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def tune(objective: object, target: object, seeds: int, seed: int) -> list[Tensor]:
        asked.append(seed)
        return [torch.zeros(seeds)] * chapter.SETTINGS

    monkeypatch.setattr(chapter, "tune", tune)
    columns = chapter.tuned("ring", 2, 1_000)
    assert set(asked) == {chapter.TUNING + 1_000} and chapter.TUNING > 100_000
    assert len(columns) == len(ALL) * chapter.SETTINGS and "distance_hinge_7" in columns


def test_the_setting_is_chosen_by_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    table = {f"distance_hinge_{i}": torch.full((3,), 9.0 - i) for i in range(chapter.SETTINGS)}
    table["distance_hinge_5"] = torch.tensor([0.0, math.inf, math.inf])
    table["distance_hinge_2"] = torch.tensor([1.0, 1.0, math.inf])
    monkeypatch.setattr(chapter, "ledger", {"objectives_tuned_ring": table}.__getitem__)
    every = chapter.tried(OBJECTIVES["hinge"])
    assert chapter.chosen("hinge", "ring") == every[2]
    assert chapter.chosen("hinge", "ring", among=2) == every[1]


# Controls


def test_shapes_without_modes_are_an_even_circle_and_an_even_square() -> None:
    circle, square = (chapter.even(name, 2, 4_000, 5) for name in chapter.HEAPS)
    torch.testing.assert_close(circle.norm(dim=2), torch.ones(2, 4_000))
    turns = torch.atan2(circle[..., 1], circle[..., 0]) / (2 * math.pi) + 0.5
    for places in (turns, (square[..., 0] + 5) / 10, (square[..., 1] + 5) / 10):
        assert ((places * 5).long().flatten().bincount(minlength=5) / 8_000 - 0.2).abs().max() < 0.02
    assert square.abs().max() <= 5


def test_shapes_without_modes_are_judged_like_the_runs_of_their_seed(few: None) -> None:
    columns = chapter.without_modes(2, 7)
    for name in chapter.HEAPS:
        shape = chapter.even(name, 2, chapter.COUNTED, 7)
        found = chapter._measured(lambda n, rng, shape=shape: shape, TARGETS[name], 7)  # type: ignore[misc]
        assert all(torch.equal(columns[f"{measure}_{name}"], values) for measure, values in found.items())


def test_what_is_drawn_is_the_run_in_the_middle(monkeypatch: pytest.MonkeyPatch, few: None) -> None:
    """Here member k draws k alone, so that the samples say whose they are."""

    def trained(objective: object, target: object, of: list[Setting], seed: int) -> Callable[..., Tensor]:
        assert len(of) == chapter.RUNS and seed == 7
        return lambda n, rng: torch.arange(16.0).view(-1, 1, 1).expand(-1, n, 2)

    monkeypatch.setattr(chapter, "trained", trained)
    columns = chapter.drawn(5, 7)
    assert len(columns) == 12 and all(len(set(x.tolist())) == 1 for x in columns.values())
    far = chapter._measured(trained(None, None, [SETTING] * 16, 7), RING, 7)["distance"]
    assert far[int(columns["x2_ring_hinge"][0])] == far.median()


def test_controls_are_runs_with_their_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def runs(objective: object, target: object, setting: Setting, seeds: int, seed: int) -> dict[str, Tensor]:
        asked.append((objective, target, setting, seed))
        return {"distance": torch.full((seeds,), float(len(asked)))}

    monkeypatch.setattr(chapter, "runs", runs)
    columns = chapter.other_numbers(2, 7)
    assert list(columns)[-1] == "distance_ring_least_squares" and len(columns) == 8
    game = OBJECTIVES["least_squares"]
    assert asked[-1] == (game, RING, chapter.tried(game)[5], 7)
    assert asked[2] == (game, TARGETS["bell"], chapter.tried(game)[3], 7)
    asked.clear()
    columns = chapter.tried_weights(4, 7)
    assert [list(columns)[i] for i in (0, -1)] == ["distance_bell_0", "distance_ring_17"]
    assert asked[-1] == (OBJECTIVES["penalised"], RING, chapter.WEIGHTS[17], chapter.TUNING + 7)
    assert {setting.own for setting in chapter.WEIGHTS} == {0.1, 1, 10} and len(set(chapter.WEIGHTS)) == 18
    columns["distance_ring_3"] = torch.zeros(4)
    monkeypatch.setattr(chapter, "ledger", {"objectives_tried_weights": columns}.__getitem__)
    asked.clear()
    assert set(chapter.weights(2, 7)) == {"distance_bell", "distance_ring"}
    assert [setting for _, _, setting, _ in asked] == [chapter.WEIGHTS[0], chapter.WEIGHTS[3]]


def test_those_that_took_one_number_are_tried_with_another() -> None:
    for name, (number, keys) in chapter.OTHER_NUMBERS.items():
        taken = {chapter.tried(ALL[key]).index(chapter.chosen(key, name)) + 1 for key in keys}
        assert len(taken) == 1 and number not in taken


# The table of results


def test_a_row_has_all_cells_and_the_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chapter, "cell", lambda key, name, seeds, seed: {"distance": torch.zeros(seeds)})
    columns = chapter.row("bell", 3, 1_000)
    every = [*chapter.on(TARGETS["bell"]), "likelihood", "floor"]
    assert set(columns) == {f"distance_{key}" for key in every}
    assert (columns["distance_floor"] > 0).all()
    made = chapter.tables(*TARGETS)
    assert set(made) == {*TARGETS, *(f"tuned_{name}" for name in TARGETS)}
    assert {made["tuned_ring"].seeds, made["tuned_ring"].ensemble} == {chapter.TRIED}
    assert set(chapter.TABLES) == {*made, *chapter.CONTROLS}
    assert set(chapter.MEASURED) <= set(TARGETS)


def test_a_cell_is_that_of_its_setting_and_its_seed(monkeypatch: pytest.MonkeyPatch, few: None) -> None:
    monkeypatch.setattr(chapter, "chosen", lambda key, name: SETTING)
    one, again, other = (chapter.cell("hinge", "ring", 2, seed) for seed in (1, 1, 2))
    assert all(torch.equal(one[measure], again[measure]) for measure in one)
    assert not torch.equal(one["distance"], other["distance"])
    alone = chapter.runs(OBJECTIVES["hinge"], RING, SETTING, 2, 1)
    assert torch.equal(one["distance"], alone["distance"])


@each_target
def test_maximum_likelihood_is_near_the_floor(name: str) -> None:
    fit, real = chapter.cell("likelihood", name, 1, 5), chapter.floor(name, 1, 5)
    assert fit["distance"] < 2 * real["distance"]


def test_names_are_checked() -> None:
    with pytest.raises(ValueError, match="key must be one of minimax, .*, likelihood, not 'mnimax'"):
        chapter.cell("mnimax", "ring", 1)
    with pytest.raises(ValueError, match="name must be one of bell, tilted, .*, bell_normal, not 'rings'"):
        chapter.cell("hinge", "rings", 1)


def test_the_command_says_what_it_takes() -> None:
    done = subprocess.run(
        [sys.executable, "-m", chapter.__name__, "--help"], capture_output=True, text=True, check=True
    )
    assert "{bell,tilted,ring,grid,bell_normal}" in done.stdout and "relativistic_r1_r2" in done.stdout


@pytest.mark.parametrize("name", ALL)
def test_beside_an_accelerator_all_of_a_run_stays_on_the_cpu(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gan_helpers.ensemble.default_device", lambda: META)
    monkeypatch.setattr(chapter, "steps", lambda *args: 2)
    with OneDevice():
        draw = chapter.trained(ALL[name], RING, [SETTING] * 2, 0)
        assert draw(9, Stream("samples", 0)).device.type == "cpu"


# The chapter

CHAPTER = Chapter("objectives")


def test_the_game_of_the_chapter_is_that_of_the_package() -> None:
    G, D, x, z = players()
    written, theirs = CHAPTER.define("ours")["ours"], GAMES["non_saturating_r1"]
    assert (written.powers, written.clips) == (theirs.powers, theirs.clips)
    for name in ("d_loss", "g_loss"):
        ours, expected = (getattr(game, name)(G, D, x, z, OWN) for game in (written, theirs))
        torch.testing.assert_close(ours, expected)


def test_the_objective_of_a_reader_is_tuned_with_the_settings_of_the_others() -> None:
    mine, plain = CHAPTER.define("mine")["mine"], chapter.tried(PLAIN)
    assert [replace(s, own=0) for s in chapter.tried(mine)] == [replace(s, own=0) for s in plain]
    G, D, x, z = players()
    zero = mine.g_loss(G, D, x, z, torch.zeros(2))
    torch.testing.assert_close(zero, PLAIN.g_loss(G, D, x, z, OWN))
    gap = G(z).mean(1) - x.mean(1)
    torch.testing.assert_close(mine.g_loss(G, D, x, z, OWN) - zero, OWN * gap.square().sum(1))
