"""Albums: what is stored of them, and that the stored ones are those of their recipes."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_helpers import albums as module
from gan_helpers.albums import Album, album, begun, every, written
from gan_helpers.recipes import Recipe, edward_mnist
from gan_helpers.tables import FOLDER

ALL = every()
NOISE = torch.linspace(-1, 1, 32 * 884).sin().view(1, 32, 884)
SMALL = Album(
    lambda: edward_mnist.original(*edward_mnist.inputs(1, rows=200)),
    lambda G: edward_mnist.pictures(G, NOISE)[0],
    {2: 16, 4: 32},
)


def made(name: str) -> Recipe:
    """Return the recipe of an album; what learns from the full set can't be held against it without one."""
    try:
        return ALL[name].make()
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", ALL)
def test_what_is_stored_fits_its_album_and_is_small(name: str) -> None:
    stored = album(name)
    assert {step: len(images) for step, images in stored.items()} == ALL[name].moments
    assert list(stored)[-1] == made(name).steps
    assert (FOLDER / f"{name}.png").stat().st_size <= 100_000


@pytest.mark.parametrize("name", ALL)
def test_what_is_stored_is_what_the_recipe_does(name: str) -> None:
    """It begins alike to the digit. Rounding differs between machines and grows: later it is near at most."""
    step, n = next((step, n) for step, n in ALL[name].moments.items() if step)
    recipe, again = made(name), f"`python -m gan_helpers.albums {name}` makes it again"
    mine = replace(ALL[name], make=lambda: recipe, moments={step: n})
    torch.testing.assert_close(mine.begins(), begun(name), rtol=1e-3, atol=1e-5, msg=again)
    images, stored = mine.taken()[step], album(name)[step]
    for measure in (torch.mean, torch.std):
        assert abs(measure(images) - measure(stored)) < 0.08, again


def test_an_album_has_what_a_run_draws_at_its_moments() -> None:
    taken = SMALL.taken()
    recipe = SMALL.make()
    G, D = recipe.networks(1, seed=SMALL.seed)
    recipe.train(G, D, seed=SMALL.seed, steps=2)
    assert torch.equal(taken[2], SMALL.draw(G)[0, :16])
    assert taken[4].shape == (32, 784) and not torch.equal(taken[4][:16], taken[2])


def test_a_file_is_written_by_the_command_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    monkeypatch.setattr(module, "every", lambda: {"small": SMALL})
    monkeypatch.setattr(sys, "argv", ["albums", "small"])
    module.main()
    stored, taken = album("small"), SMALL.taken()
    assert list(stored) == list(taken)
    for step, images in taken.items():
        torch.testing.assert_close(stored[step], images, rtol=0, atol=0.51 / 255)
    with pytest.raises(ValueError, match=r"^name must be one of small, not 'large'\.$"):
        album("large")
    with pytest.raises(TypeError, match=r"^name must be of type str, not 3 \(int\)\.$"):
        album(3)  # type: ignore[arg-type]


def test_a_file_is_a_picture_with_sixteen_images_in_a_row() -> None:
    images = torch.zeros(32, 28, 28)
    images[17, 3, 5] = 1.0  # in the second row, the second from the left
    file = written({9: images.flatten(1)}, (28, 28), torch.zeros(2, 3))
    picture = np.array(Image.open(BytesIO(file)))
    assert picture.shape == (2 * 28, 16 * 28)
    assert picture[28 + 3, 28 + 5] == 255 and picture.sum() == 255


def test_images_of_another_shape_come_back_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    for shape in ((1, 64), (3, 5)):
        taken = {0: torch.rand(16, math.prod(shape)), 7: torch.rand(48, math.prod(shape))}
        file = written(taken, shape, torch.zeros(2, 3))
        assert Image.open(BytesIO(file)).size == (16 * shape[1], 4 * shape[0])
        (tmp_path / "other.png").write_bytes(file)
        for step, images in album("other").items():
            torch.testing.assert_close(images, taken[step], rtol=0, atol=0.51 / 255)


def test_of_several_runs_an_album_has_the_first() -> None:
    several = replace(SMALL, seeds=2, draw=lambda G: edward_mnist.pictures(G, NOISE.expand(2, -1, -1))[0])
    recipe = several.make()
    G, D = recipe.networks(2, seed=several.seed)
    recipe.train(G, D, seed=several.seed, steps=2)
    assert torch.equal(several.taken()[2], several.draw(G)[0, :16])
