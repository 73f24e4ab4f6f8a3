"""The drawing functions draw what they are given, on the Axes that they are given."""

from itertools import combinations

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import style
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from gan_helpers import plots
from gan_helpers.data import Normal

matplotlib.use("Agg")


@pytest.fixture
def ax():
    return Figure().subplots()


ROLES = (plots.REAL, plots.FAKE, plots.DISCRIMINATOR)

# How a colour looks to those who lack one kind of cone, in linear RGB: Machado, Oliveira and Fernandes
# (2009), table 1, severity 1. https://doi.org/10.1109/TVCG.2009.113
VISIONS = {
    "all cones": np.eye(3),
    "no red ones":
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green ones":
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no blue ones":
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}  # fmt: skip
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour):
    """Return a colour of sRGB as amounts of light."""
    c = np.array(to_rgb(colour))
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(light):
    """Return CIELAB, in which a distance of 2 or 3 is just seen."""
    t = TO_XYZ @ light.clip(0, 1) / TO_XYZ.sum(1)
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("vision", VISIONS)
def test_the_three_roles_are_told_apart_with_every_kind_of_colour_vision_and_in_print(vision):
    assert len({role["linestyle"] for role in ROLES}) == 3

    seen = [lab(VISIONS[vision] @ linear(role["color"])) for role in ROLES]
    assert all(np.linalg.norm(one - other) > 15 for one, other in combinations(seen, 2))


def test_the_three_roles_stand_out_from_the_white_of_the_figures():
    """By the contrast that WCAG 2.2 asks of graphics, success criterion 1.4.11."""
    with style.context("gan_helpers.book"):
        grounds = {matplotlib.rcParams[f"{name}.facecolor"] for name in ("figure", "axes", "savefig")}
        assert not matplotlib.rcParams["savefig.transparent"]  # or a dark page would shine through
    assert grounds == {"white"}
    assert all(1.05 / (TO_XYZ[1] @ linear(role["color"]) + 0.05) > 3 for role in ROLES)


def test_a_band_draws_the_median_over_seeds_and_leaves_out_what_is_not_a_number(ax):
    values = torch.tensor([[1.0, 2.0, 9.0], [3.0, 5.0, 4.0], [1.0, float("nan"), 3.0]])
    plots.band(ax, torch.tensor([0, 10, 20]), values, "median")
    (line,) = ax.get_lines()
    assert (line.get_xdata().tolist(), line.get_ydata().tolist()) == ([0, 10, 20], [2.0, 4.0, 2.0])
    all_of_them, half = (area.get_paths()[0].get_extents().intervaly.tolist() for area in ax.collections)
    assert all_of_them == [1.0, 9.0] and half == [1.5, 5.5]


def test_histograms_are_densities_over_the_true_one(ax):
    law = Normal(4.0, 1.25)
    u = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    plots.density(ax, law.quantile(u).repeat(2, 1), law)
    assert len(ax.patches) == 2
    heights, edges, _ = ax.patches[0].get_data()
    middles = torch.as_tensor((edges[1:] + edges[:-1]) / 2).unsqueeze(1)
    assert np.abs(heights - law.density(middles).numpy()).max() < 0.01


def test_one_point_is_drawn_for_each_seed(ax):
    groups = {"a": torch.tensor([0.3, 0.1]), "b": torch.ones(3)}
    plots.per_seed(ax, groups, mark=0.2, label="the mark", real=["b"])
    first, second, mark = ax.get_lines()
    assert [line.get_color() for line in (first, second)] == [plots.FAKE["color"], plots.REAL["color"]]
    assert first.get_xdata().tolist() == pytest.approx([0.3, 0.1])
    assert len(second.get_xdata()) == 3
    medians = [lines.get_segments()[0][0][0] for lines in ax.collections]
    assert medians == pytest.approx([0.2, 1.0])
    assert mark.get_xdata() == [0.2, 0.2]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b"]


X, Y = torch.linspace(-3, 3, 31).double(), torch.linspace(-1, 1, 21).double()
PLANE = 2 * (X - 1).expand(21, 31)  # D says real on the right of 1


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_arrows_lead_uphill_and_fade_where_fakes_pass(ax, sign):
    plots.surface(ax, X, Y, sign * PLANE, arrows=8, scale=2.0)
    _, boundary, arrows = ax.collections
    assert np.unique(boundary.get_paths()[0].vertices[:, 0]).tolist() == pytest.approx([1.0])
    across = torch.as_tensor(arrows.XY[:, 0])
    force = (1 - torch.sigmoid(sign * 2 * (across - 1))) * 2 * sign
    assert arrows.U.tolist() == pytest.approx(force.tolist(), rel=1e-5, abs=1e-6)
    assert arrows.V.tolist() == pytest.approx([0.0] * len(arrows.V), abs=1e-6)
    assert len(set(arrows.XY[:, 0])) == 8 and len(set(arrows.XY[:, 1])) == 7
    assert arrows.scale == 2.0  # so that arrows of two surfaces can be compared


def test_arrows_lead_upwards_too_and_a_surface_without_a_boundary_has_none(ax):
    plots.surface(ax, X, Y, 2 + Y.unsqueeze(1).expand(21, 31))
    _, arrows = ax.collections
    assert (arrows.V > 0.04).all() and np.abs(arrows.U).max() < 1e-6


def test_wrong_shapes_are_named(ax):
    with pytest.raises(ValueError, match="at must have one step for each of the 2 records"):
        plots.band(ax, torch.tensor([0]), torch.ones(2, 3), "median")
    with pytest.raises(ValueError, match=r"samples must have shape \(seeds, n\)"):
        plots.density(ax, torch.ones(5), Normal(0.0, 1.0))
    with pytest.raises(ValueError, match=r"logits must have shape \(21, 31\), as y and x, not \(31, 21\)"):
        plots.surface(ax, X, Y, PLANE.T)
