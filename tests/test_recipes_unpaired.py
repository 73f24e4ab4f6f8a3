"""Two maps are trained as they are said to be, and where they take islands is told right."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gan_helpers import Stream
from gan_helpers.losses import minimax_d, non_saturating_g
from gan_helpers.penalties import r1, r2
from gan_helpers.recipes import Recipe, unpaired
from gan_helpers.tables import ledger
from tests.chapters import Chapter, assert_trains_by
from tests.plain_gan import numbers


def test_islands_lie_on_a_circle_and_are_as_frequent_as_told() -> None:
    islands = unpaired.Islands(unpaired.UNEVEN, turn=0.1)
    assert torch.allclose(islands.means.norm(dim=1), torch.tensor(2.0))
    assert islands.means[1].tolist() == pytest.approx([-2 * math.sin(0.1), 2 * math.cos(0.1)])
    points = islands(1, 40_000, Stream("islands", 1))[0]
    nearest = torch.cdist(points, islands.means).argmin(1)
    shares = nearest.bincount().double() / len(points)
    assert shares.tolist() == pytest.approx(unpaired.UNEVEN, abs=0.01)
    each = islands.each(1, 5_000, Stream("islands", 2))[0]
    assert torch.allclose(each.mean(1), islands.means, atol=0.02)
    assert each.std(1).mean().item() == pytest.approx(unpaired.SD, abs=0.005)


def test_the_way_there_and_back_uses_both_maps() -> None:
    G, _ = unpaired.original().networks(2, seed=1, device="cpu")
    x, y = numbers(2, 5, 2).float(), numbers(2, 5, 2, seed=1).float()
    to_x, to_y, y_again, x_again = G((x, y))
    torch.testing.assert_close(y_again, G((to_x, y))[1])
    torch.testing.assert_close(x_again, G((x, to_y))[0])


@pytest.mark.parametrize("residual", [False, True])
def test_maps_that_start_as_the_identity_move_nothing_and_can_learn_to(residual: bool) -> None:
    G, _ = unpaired.changed(residual=residual, start="identity").networks(2, seed=1, device="cpu")
    x, y = numbers(2, 5, 2).float(), numbers(2, 5, 2, seed=1).float()
    for one, other in zip(G((x, y)), (y, x, y, x), strict=True):
        torch.testing.assert_close(one, other)
    sum(one.square().sum() for one in G((x, y))).backward()  # type: ignore[union-attr]
    assert any(weights.grad is not None and weights.grad.abs().sum() > 0 for weights in G.parameters())


def test_a_far_start_moves_points_many_times_as_far() -> None:
    points = unpaired.Islands().each(3, 20, Stream("points", 1)).flatten(1, 2)
    moves = []
    for start in ("random", "far"):
        G, _ = unpaired.changed(residual=True, start=start).networks(3, seed=1, device="cpu")  # type: ignore[arg-type]
        moves.append(G((points, points))[0] - points)
    near, far = moves  # the bias of the last layer is left as it is
    assert 4 < (far.norm(dim=2).mean() / near.norm(dim=2).mean()).item() < 12


def test_a_start_that_there_is_not_is_named() -> None:
    with pytest.raises(ValueError, match="start must be one of random, identity, far, not 'near'"):
        unpaired.changed(start="near").networks(1, seed=1, device="cpu")  # type: ignore[arg-type]


@pytest.mark.parametrize("cycle", [0.0, 1.0, 3.0])
def test_the_game_has_the_losses_that_it_says(cycle: float) -> None:
    recipe = unpaired.changed(cycle=cycle)
    G, D = recipe.networks(2, seed=1, device="cpu")
    x, y = numbers(2, 5, 2).float(), numbers(2, 5, 2, seed=1).float()
    to_x, to_y, y_again, x_again = G((x, y))
    (a, b), (a_fake, b_fake) = D((x, y)), D((to_x, to_y))
    back = (y_again - y).abs().sum(2).mean(1) + (x_again - x).abs().sum(2).mean(1)
    expected = non_saturating_g(a_fake) + non_saturating_g(b_fake) + cycle * back
    torch.testing.assert_close(recipe.g_loss(G, D, x, y), expected)

    def of_x(some: Tensor) -> Tensor:
        return D((some, y))[0]

    def of_y(some: Tensor) -> Tensor:
        return D((x, some))[1]

    price = (r1(of_x, x) + r2(of_x, to_x) + r1(of_y, y) + r2(of_y, to_y)) / 2
    expected = minimax_d(a, a_fake) + minimax_d(b, b_fake) + price
    torch.testing.assert_close(recipe.d_loss(G, D, x, y), expected)


def ends(order: tuple[int, ...], n: int = 5) -> unpaired.Moved:
    """One seed whose islands arrive whole, in this order, and return to where they started."""
    starts = unpaired.Islands().means[None, :, None].expand(1, -1, n, -1)
    arrived = unpaired.Islands(turn=unpaired.TURN).means[list(order)][None, :, None].expand(1, -1, n, -1)
    return unpaired.Moved(starts, arrived, starts)


def test_an_order_is_recognised_and_named() -> None:
    kinds = {
        (0, 1, 2, 3): 0,
        (1, 2, 3, 0): 1,
        (3, 0, 1, 2): 1,
        (0, 3, 2, 1): 2,
        (1, 0, 3, 2): 2,
        (0, 2, 1, 3): 3,
    }
    for order, kind in kinds.items():
        found = unpaired.measured(ends(order), unpaired.EVEN)
        assert unpaired.ORDERS[int(found["order"])] == order and found["kind"].item() == kind
        assert (found["near"].item(), found["tv"].item(), found["cycle"].item()) == (1, 0, 0)
    counts = unpaired.kind(torch.arange(24)).bincount().tolist()
    assert counts == [1, 3, 4, 16]


def test_islands_that_meet_or_are_torn_have_no_order() -> None:
    met = unpaired.measured(ends((0, 0, 2, 3)), unpaired.EVEN)
    assert (met["order"].item(), met["kind"].item(), met["tv"].item()) == (-1, -1, 0.25)
    torn = ends((0, 1, 2, 3), n=10)
    arrived = torn.ends.clone()
    arrived[0, 0, 0] = arrived[0, 1, 0]  # one point of ten
    moved = unpaired.Moved(torn.starts, arrived, torn.returned)
    assert unpaired.measured(moved, unpaired.EVEN)["order"].item() == -1


def test_shares_count_where_islands_are_not_equally_frequent() -> None:
    found = unpaired.measured(ends((1, 0, 2, 3)), unpaired.UNEVEN)
    assert found["tv"].item() == pytest.approx(0.1)


def test_an_island_that_shrinks_in_one_direction_is_narrow() -> None:
    x = unpaired.Islands(turn=unpaired.TURN).each(2, 2_000, Stream("x", 1))
    assert unpaired.width(unpaired.Moved(x, x, x)).tolist() == pytest.approx([1, 1], abs=0.06)
    thin = x.clone()
    turned = torch.linalg.qr(torch.tensor([[1.0, 0.4], [-0.4, 1.0]]))[0]
    thin[1, 2] = (x[1, 2] * torch.tensor([0.3, 1.0])) @ turned
    assert unpaired.width(unpaired.Moved(x, thin, x)).tolist() == pytest.approx([1, 0.3], abs=0.06)


def test_widths_are_of_the_games_with_the_cycle_and_without(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[float] = []
    changed = unpaired.changed

    def short(**changes: float) -> Recipe:
        made.append(changes.get("cycle", unpaired.CYCLE))
        return changed(**changes, steps=2)  # type: ignore[arg-type]

    monkeypatch.setattr(unpaired, "changed", short)
    found = unpaired.widths(2, 3)
    assert made == [unpaired.CYCLE, 0]
    assert (found["width_truth"] > found["width_cycle"]).all() and found["kind_no_cycle"].shape == (2,)


def test_of_the_table_islands_are_narrower_without_the_cycle() -> None:
    table = ledger("pairs_unpaired_width")
    assert (table["width_no_cycle"] < table["width_cycle"]).all()
    assert (table["width_cycle"] < table["width_truth"]).sum() >= 60


def test_the_chapter_trains_by_the_recipe_of_the_package() -> None:
    assert_trains_by(unpaired.original(), Chapter("pairs").train("mapped", 0))
