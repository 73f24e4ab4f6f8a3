"""What one run had drawn on the way, stored for chapters that run only its beginning: see CONTRIBUTING.md.

``python -m gan_helpers.albums NAME`` trains by a recipe to its end, and stores images of some moments in a
file of the package: a PNG with rows of 16 grey images, one moment below the other, whose text ``moments``
says how many belong to which step. Its text ``begun`` has the losses of the first steps: on another processor
a run rounds otherwise and ends elsewhere, but it begins alike. A curve is an image of one row of pixels. A
recipe module says in its ``ALBUMS`` what there is; ``"original"`` of ``edward_mnist`` is called
``edward_mnist_original``.

Raises:
    OSError: if the file cannot be read or written.
"""

from __future__ import annotations

import argparse
import io
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from gan_helpers import _checks, recipes
from gan_helpers.ensemble import Ensemble
from gan_helpers.files import write_whole
from gan_helpers.mnist import SIDE
from gan_helpers.options import Watch
from gan_helpers.recipes import Recipe
from gan_helpers.tables import FIRST_SEED, FOLDER

ACROSS = 16  # images in a row
BEGUN = 3  # steps whose losses are kept


@dataclass(frozen=True)
class Album:
    """What a file holds: images of one run.

    Args:
        make: makes the recipe, a new one for each run.
        draw: what the generators draw, always from the same noise: grey levels from 0 to 1,
            ``(seeds, n, pixels)``.
        moments: how many of these images are kept, by the steps after which they are: a multiple of 16.
        seed: the base seed of the run.
        seeds: how many runs are trained together; the first of them is the one that is kept.
        shape: the height and the width of an image, in pixels.
    """

    make: Callable[[], Recipe]
    draw: Callable[[Ensemble], Tensor]
    moments: Mapping[int, int]
    seed: int = FIRST_SEED
    seeds: int = 1
    shape: tuple[int, int] = (SIDE, SIDE)

    def taken(self) -> dict[int, Tensor]:
        """Train up to the last moment, and return the images by their steps, each ``(n, pixels)``."""
        recipe = self.make()
        G, D = recipe.networks(self.seeds, seed=self.seed)
        watch = Watch(lambda G: {"images": self.draw(G)}, every=math.gcd(*self.moments))
        history = recipe.train(G, D, seed=self.seed, steps=max(self.moments), watch=watch).require_whole()
        drawn = dict(zip(history.at.tolist(), history.watched["images"][:, 0].cpu(), strict=True))
        return {step: drawn[step][:n] for step, n in self.moments.items()}

    def begins(self) -> Tensor:
        """Return the losses of D and of G in the first steps, ``(2, BEGUN)``."""
        recipe = self.make()
        G, D = recipe.networks(self.seeds, seed=self.seed)
        history = recipe.train(G, D, seed=self.seed, steps=BEGUN)
        return torch.stack([history.d_loss, history.g_loss])[:, :, 0].cpu()


def written(taken: Mapping[int, Tensor], shape: tuple[int, int], begun: Tensor) -> bytes:
    """Return the file of an album.

    Args:
        taken: grey levels from 0 to 1 by their steps, each ``(n, pixels)``.
        shape: the height and the width of an image, in pixels.
        begun: the losses of the first steps, as `Album.begins` returns them.
    """
    high, wide = shape
    levels = torch.cat(list(taken.values())).mul(255).round().to(torch.uint8)
    rows = levels.view(-1, ACROSS, high, wide).transpose(1, 2).reshape(-1, ACROSS * wide)
    said = PngInfo()
    said.add_text("moments", json.dumps({step: len(images) for step, images in taken.items()}))
    said.add_text("begun", json.dumps(begun.tolist()))
    file = io.BytesIO()
    Image.fromarray(rows.numpy()).save(file, "PNG", optimize=True, pnginfo=said)
    return file.getvalue()


def _opened(name: str) -> tuple[dict[str, Any], Tensor]:
    """Return the texts and the grey levels of an album's file."""
    path = FOLDER / f"{_checks.text('name', name)}.png"
    known = sorted(path.stem for path in FOLDER.glob("*.png"))
    if name not in known:
        raise ValueError(f"name must be one of {', '.join(known)}, not {name!r}.")
    with Image.open(path) as picture:
        texts = {key: json.loads(picture.info[key]) for key in ("moments", "begun")}
        return texts, torch.from_numpy(np.array(picture))


def album(name: str) -> dict[int, Tensor]:
    """Return the images of an album by the steps after which they were drawn, ``(n, pixels)`` from 0 to 1.

    Args:
        name: such as ``"edward_mnist_original"``.

    Raises:
        TypeError: if ``name`` is no string.
        ValueError: if there is no such album.
    """
    texts, levels = _opened(name)
    moments = texts["moments"]
    n = sum(moments.values())
    high, wide = len(levels) * ACROSS // n, levels.shape[1] // ACROSS
    images = levels.view(-1, high, ACROSS, wide).transpose(1, 2).reshape(n, -1).float() / 255
    return dict(zip(map(int, moments), images.split(list(moments.values())), strict=True))


def begun(name: str) -> Tensor:
    """Return the losses of D and of G in the first steps of the run of an album, ``(2, BEGUN)``.

    Args:
        name: as for `album`.

    Raises:
        TypeError: if ``name`` is no string.
        ValueError: if there is no such album.
    """
    return torch.tensor(_opened(name)[0]["begun"])


def every() -> dict[str, Album]:
    """Return the albums of all recipe modules by their names."""
    return recipes.collected("ALBUMS")


def main() -> None:
    """Make the album that the command line asks for."""
    known = every()
    parser = argparse.ArgumentParser(prog="python -m gan_helpers.albums", description=__doc__)
    parser.add_argument("name", choices=sorted(known), help="which album")
    name = parser.parse_args().name
    made = known[name]
    write_whole(FOLDER / f"{name}.png", written(made.taken(), made.shape, made.begins()))


if __name__ == "__main__":
    main()
