"""Binarised digits as a problem of likelihood-free inference: the source's recipe, and those that repair it.

The source is Edward's tutorial (Tran et al., 2016). What its text leaves to its library was read from the
library's code: weights start from a Glorot draw and biases from 0, both players take their gradients from the
same weights and fakes, and G's loss is the non-saturating one.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gan_helpers import _checks, image_metrics, metrics, mnist
from gan_helpers.classifier import DigitClassifier
from gan_helpers.classifier import load as load_judge
from gan_helpers.data import Uniform
from gan_helpers.ensemble import Ensemble
from gan_helpers.history import History
from gan_helpers.losses import minimax_d, non_saturating_g
from gan_helpers.models import dense
from gan_helpers.options import Turns, Watch
from gan_helpers.penalties import r1
from gan_helpers.randomness import Stream
from gan_helpers.recipes import Recipe, bundled_digits
from gan_helpers.states import match
from gan_helpers.tables import Columns, Table
from gan_helpers.training import adam

PIXELS = mnist.SIDE**2
NOISE = Uniform(-1.0, 1.0, features=100)
BATCH = 128
STEPS = 15_000
LOGGED = (1, 1_000, 5_000, 10_000, 15_000)  # the steps whose losses a table keeps
inputs = bundled_digits

#: The losses of G and of D that the notebook of the source logged, by step.
SOURCE_LOG: dict[int, tuple[float, float]] = {
    1: (0.667, 1.303), 1_000: (14.898, 0.026), 2_000: (4.941, 0.034), 3_000: (5.195, 0.054),
    4_000: (4.918, 0.107), 5_000: (4.584, 0.165), 6_000: (4.029, 0.221), 7_000: (3.286, 0.594),
    8_000: (3.374, 0.312), 9_000: (2.803, 0.611), 10_000: (2.362, 0.745), 11_000: (2.974, 0.526),
    12_000: (2.787, 0.514), 13_000: (2.413, 0.852), 14_000: (1.990, 0.696), 15_000: (1.929, 0.781),
}  # fmt: skip


def generator() -> nn.Sequential:
    """Return the source's generator: 100 numbers, 128 relu, 784 pixels by a sigmoid."""
    return nn.Sequential(dense(100, 128), nn.ReLU(), dense(128, PIXELS), nn.Sigmoid())


def discriminator() -> nn.Sequential:
    """Return the source's discriminator: 784 pixels, 128 relu, a logit."""
    return nn.Sequential(dense(PIXELS, 128), nn.ReLU(), dense(128, 1))


class InOrder:
    """Serves images in their order and then from the first again, the same ones to all seeds.

    The position is kept between calls: give each training run its own.

    Args:
        images: the real images, ``(n, features)``.

    Raises:
        TypeError: if ``images`` is not a floating-point tensor.
        ValueError: if ``images`` is empty or of another shape.
    """

    def __init__(self, images: Tensor) -> None:
        self.images = _checks.floating("images", images, "(n, features)", dims=2)
        self._start = 0

    def __call__(self, seeds: int, batch: int, rng: Stream) -> Tensor:
        """Return the next ``batch`` images for each seed, ``(seeds, batch, features)``."""
        rows = torch.arange(self._start, self._start + batch, device=self.images.device)
        self._start += batch
        return self.images[rows % len(self.images)].expand(seeds, -1, -1)

    def state(self) -> dict[str, Tensor]:
        """Return how many images were served, for a checkpoint."""
        return {"start": torch.tensor(self._start)}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on from where another one was; see `gan_helpers.states.Stateful`."""
        match(self.state(), state)
        self._start = _checks.whole("start", int(state["start"]), at_least=0)


class Binarised:
    """Samples every pixel of every image anew.

    Args:
        data: draws images with grey levels from 0 to 1.
    """

    def __init__(self, data: InOrder) -> None:
        self.data = data
        # What it remembers is what the data remember.
        self.state, self.load_state = data.state, data.load_state

    def __call__(self, seeds: int, batch: int, rng: Stream) -> Tensor:
        """Draw black and white images for each seed, ``(seeds, batch, features)``."""
        return mnist.binarise(self.data(seeds, batch, rng), rng)


class Binary(nn.Module):
    r"""A generator whose pixels are sampled, as those of the data are.

    .. math:: x_i = [\, u_i < p_i(\epsilon) \,], \qquad p = G(\epsilon)

    The uniform numbers u are noise like any other, so this is a function of noise too. Its value is 0 or 1;
    its gradient is that of p, known as straight-through.

    Args:
        grey: the generator of p, from the first inputs to pixels between 0 and 1.
        features: how many inputs it has. The others, one for each pixel, are u, scaled to [-1, 1].

    References:
        Bengio, Leonard and Courville (2013). https://arxiv.org/abs/1308.3432
    """

    def __init__(self, grey: nn.Module, features: int = NOISE.features) -> None:
        super().__init__()
        self.grey = grey
        self.features = features

    def forward(self, z: Tensor) -> Tensor:
        """Map ``(..., features + pixels)`` to black and white images, ``(..., pixels)``."""
        p: Tensor = self.grey(z[..., : self.features])
        x = (z[..., self.features :] < 2 * p - 1).to(p)
        return x + (p - p.detach())  # the value of x, the gradient of p


def original(
    images: Tensor, *, sampled: bool = False, gamma: float = 0.0, beta1: float = 0.9, steps: int = STEPS
) -> Recipe:
    """Return the source's recipe, or one that differs from it in what is given.

    Each training run needs a recipe of its own, because it remembers how far it has read.

    Args:
        images: the real images, ``(n, 784)``, grey levels from 0 to 1.
        sampled: whether fakes are sampled, as `Binary`.
        gamma: the weight of the penalty R1, halved, in logits per squared unit of slope.
        beta1: how much of the last gradients both optimisers keep.
        steps: how many steps.
    """

    def d_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        loss = minimax_d(D(x), D(G(z).detach()))
        return loss + gamma / 2 * r1(D, x) if gamma else loss

    def g_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        return non_saturating_g(D(G(z)))

    return Recipe(
        G=(lambda: Binary(generator())) if sampled else generator,
        D=discriminator,
        data=Binarised(InOrder(images)),
        noise=replace(NOISE, features=NOISE.features + PIXELS) if sampled else NOISE,
        d_loss=d_loss,
        g_loss=g_loss,
        d_opt=lambda D: adam(D, 1e-3, (beta1, 0.999)),
        g_opt=lambda G: adam(G, 1e-3, (beta1, 0.999)),
        steps=steps,
        batch=BATCH,
        options={"turns": Turns(simultaneous=True)},
    )


#: What each table's recipe changes in the source's.
VARIANTS: dict[str, dict[str, Any]] = {
    "original": {},
    "sampled": {"sampled": True, "steps": 5_000},
    "penalised": {"gamma": 0.1, "beta1": 0.5, "steps": 5_000},
    "repaired": {"sampled": True, "gamma": 0.1, "beta1": 0.5, "steps": 5_000},
}


def repaired(images: Tensor, **options: Any) -> Recipe:
    """Return the repaired recipe: fakes are sampled too, slope has a price, and a third of the steps.

    Args:
        images: as for `original`.
        options: options of `original` that go before those of the repair.
    """
    return original(images, **(VARIANTS["repaired"] | options))


def judged(seeds: int, seed: int | None = None, n: int = 2_000) -> tuple[Tensor, Tensor]:
    """Return the noise that generators are judged on, and held-out digits, sampled once.

    Args:
        seeds: how many generators.
        seed: the base seed; `gan_helpers.randomness.base_seed` unless given.
        n: how many images of each.

    Returns:
        The noise, ``(seeds, n, 884)``, enough for `Binary`, and the digits, ``(n, 784)``.
    """
    held_out = mnist.load().test.images[:n]
    noise = Uniform(-1.0, 1.0, features=NOISE.features + PIXELS)
    z = noise(seeds, n, Stream("judged", seed, held_out.device))
    return z, mnist.binarise(held_out, Stream("judged/digits", seed, held_out.device))


@torch.no_grad()
def pictures(G: Ensemble, z: Tensor) -> tuple[Tensor, Tensor]:
    """Return the grey images of the generators and the sampled ones, each ``(seeds, n, 784)``.

    Args:
        G: generators, alone or as the ``grey`` part of `Binary`.
        z: the noise of `judged`.
    """
    # By name: the chapter writes out a class of its own, which is not this module's.
    network = getattr(G.network, "grey", G.network)
    grey: Tensor = network(z[..., : NOISE.features])
    return grey, (z[..., NOISE.features :] < 2 * grey - 1).to(grey)


@torch.no_grad()
def answers(D: Ensemble, grey: Tensor, sampled: Tensor, real: Tensor) -> dict[str, Tensor]:
    """Return D's share of right answers about three kinds of images, each ``(seeds,)``.

    Args:
        D: the discriminators.
        grey: the generators' images, ``(seeds, n, 784)``.
        sampled: the same, with sampled pixels.
        real: held-out digits with sampled pixels, ``(n, 784)``.
    """
    return {
        "right_real": (D(real.expand(D.seeds, -1, -1)) >= 0).double().mean((1, 2)),
        "right_grey": (D(grey) < 0).double().mean((1, 2)),
        "right_sampled": (D(sampled) < 0).double().mean((1, 2)),
    }


def grey_share(images: Tensor) -> Tensor:
    """Return the share of pixels that are neither nearly black nor nearly white, per seed.

    Args:
        images: ``(seeds, n, 784)``, from 0 to 1; nearly is within 0.05.
    """
    return ((images > 0.05) & (images < 0.95)).double().mean((1, 2))


def two_sample(sampled: Tensor, real: Tensor, seed: int | None = None) -> Tensor:
    """Return how often a linear classifier tells each seed's images from real ones that it has not seen.

    Args:
        sampled: black and white images, ``(seeds, n, 784)``.
        real: as many digits, ``(n, 784)``.
        seed: of the split; `gan_helpers.randomness.base_seed` unless given.

    Returns:
        The accuracies, ``(seeds,)``; 1/2 where the two cannot be told apart.
    """
    # Loading it takes a second or two, and training alone does not need it.
    from sklearn.linear_model import RidgeClassifier

    tests = [
        metrics.classifier_two_sample_test(
            images, real, Stream(f"two-sample/{k}", seed), RidgeClassifier(alpha=100.0)
        )
        for k, images in enumerate(sampled)
    ]
    return torch.tensor([test.accuracy for test in tests], dtype=torch.float64)


def measure(G: Ensemble, D: Ensemble, judge: DigitClassifier, seed: int | None = None) -> dict[str, Tensor]:
    """Return what D answers and how the images compare with held-out digits, each ``(seeds,)``.

    Args:
        G: the generators.
        D: their discriminators.
        judge: the classifier whose features are compared.
        seed: the base seed of what they are judged on; `gan_helpers.randomness.base_seed` unless given.

    Returns:
        The columns of `answers` and ``grey_share``; of the sampled images the Fréchet distance in features,
        the accuracy of `two_sample`, the number of digits that make up at least 1 % of them, and the share
        that is nearer to a training image than to a held-out one.
    """
    z, real = judged(G.seeds, seed)
    grey, sampled = pictures(G, z)
    train = mnist.load().train.images[: len(real)]
    shown = mnist.binarise(train, Stream("judged/train", seed, train.device))
    shares = image_metrics.class_shares(judge.predict(sampled))
    return {
        **answers(D, grey, sampled, real),
        "grey_share": grey_share(grey),
        "frechet": image_metrics.frechet_distance(judge.features(sampled), judge.features(real)),
        "two_sample": two_sample(sampled, real, seed),
        "digits": (shares >= 0.01).sum(1).double(),
        "copying": image_metrics.copying(sampled, shown, real),
    }


def follow(name: str, seeds: int, seed: int, every: int = 5_000) -> dict[str, Tensor]:
    """Train a variant on the bundled digits, and return what it is like on the way and at the end.

    Args:
        name: a key of `VARIANTS`.
        seeds: how many runs.
        seed: the base seed.
        every: steps between two measurements.

    Returns:
        By names such as ``frechet_5000``, each ``(seeds,)``: what `measure` says, and by names such as
        ``g_loss_1000`` the losses at the steps of `LOGGED`.
    """
    judge = load_judge()
    recipe = original(mnist.load().train.images, **VARIANTS[name])
    G, D = recipe.networks(seeds, seed=seed)
    history = recipe.train(G, D, seed=seed, watch=Watch(lambda G: measure(G, D, judge, seed), every))
    history.require_whole()
    return columns(history)


def columns(history: History) -> dict[str, Tensor]:
    """Return a run that was watched by `measure` as the columns of a table, each ``(seeds,)``.

    Args:
        history: of the run.
    """
    losses = {"g_loss": history.g_loss, "d_loss": history.d_loss}
    steps = [step for step in LOGGED if step <= history.steps]
    logged = {f"{name}_{step}": values[step - 1] for step in steps for name, values in losses.items()}
    measured = {
        f"{name}_{step}": values[i]
        for i, step in enumerate(history.at.tolist())
        if i  # before the first step there is nothing to tell
        for name, values in history.watched.items()
    }
    return logged | measured


def early(seeds: int, seed: int) -> Columns:
    """Return the mean losses of the original recipe from iteration 500 to 1,500, each ``(seeds,)``.

    Args:
        seeds: how many runs.
        seed: the base seed.
    """
    recipe = original(mnist.load().train.images, steps=1_500)
    G, D = recipe.networks(seeds, seed=seed)
    history = recipe.train(G, D, seed=seed)
    history.require_whole()
    return {"g_loss": history.g_loss[500:].mean(0), "d_loss": history.d_loss[500:].mean(0)}


TABLES = {"early": Table(early, 20, ensemble=4)} | {
    name: Table(partial(follow, name), 20, ensemble=4)
    for name in ("original", "penalised", "repaired", "sampled")
}
