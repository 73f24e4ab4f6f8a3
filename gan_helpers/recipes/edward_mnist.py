"""Binarised digits as a problem of likelihood-free inference: the source's recipe, and those that repair it.

The source is Edward's tutorial (Tran et al., 2016). What its text leaves to its library was read from the
library's code: weights start from a Glorot draw and biases from 0, both losses are of the same fakes, and
G's is the non-saturating one. Its program asks for both updates at once and orders nothing, so that one may
see weights that the other has moved already. Here both gradients are taken before a weight moves, which is
one reading of it: the simultaneous game. `interleaved` is one of the orders that it allows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call
from torch.nn.functional import avg_pool2d

from gan_helpers import _checks, image_metrics, metrics, mnist
from gan_helpers.albums import Album
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
from gan_helpers.recipes import Recipe, bundled_digits, full_digits
from gan_helpers.states import match
from gan_helpers.tables import Columns, Table, ledger
from gan_helpers.training import adam

PIXELS = mnist.SIDE**2
NOISE = Uniform(-1.0, 1.0, features=100)
BATCH = 128
STEPS = 15_000
COMPONENTS = 145  # a mixture of so many has as many weights as G: 145 * 785, and 114,064
BEGUN = {"original": 3_000, "repaired": 1_500}  # the steps that the chapter takes itself
LOGGED = (1, 1_000, 5_000, 10_000, 15_000)  # the steps whose losses a table keeps
WHOLE = 55_000  # as many digits as the source's text speaks of
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
    images: Tensor,
    *,
    grey: bool = False,
    sampled: bool = False,
    gamma: float = 0.0,
    beta1: float = 0.9,
    steps: int = STEPS,
) -> Recipe:
    """Return the source's recipe, or one that differs from it in what is given.

    Each training run needs a recipe of its own, because it remembers how far it has read.

    Args:
        images: the real images, ``(n, 784)``, grey levels from 0 to 1.
        grey: whether D is shown the grey levels, as in the version of the source that its log belongs to.
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
        data=InOrder(images) if grey else Binarised(InOrder(images)),
        noise=replace(NOISE, features=NOISE.features + PIXELS) if sampled else NOISE,
        d_loss=d_loss,
        g_loss=g_loss,
        d_opt=lambda D: adam(D, 1e-3, (beta1, 0.999)),
        g_opt=lambda G: adam(G, 1e-3, (beta1, 0.999)),
        steps=steps,
        batch=BATCH,
        options={"turns": Turns(simultaneous=True)},
    )


def interleaved(images: Tensor, *, steps: int = STEPS) -> Recipe:
    """Return the source's recipe with its updates in one of the orders that its program allows.

    In each step D learns and moves. Then G's last layer does, by a gradient that went back through the D that
    has moved. The gradient of G's first layer goes back through that D and that last layer. Activations stay
    those of the weights from before. `original` takes all gradients before a weight moves.

    Args:
        images: as for `original`.
        steps: how many steps.
    """
    waiting: list[Tensor] = []  # the answers that G's layers learn from, those of the first layer first

    def d_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        layers = cast("nn.Sequential", G.network)
        first, last = layers[:2], layers[2:]
        # What is kept for the way back shares its memory with the weights, and moves with them.
        with saved_tensors_hooks(Tensor.detach, lambda kept: kept):
            hidden = first(z)
            held = {name: weight.detach() for name, weight in last.named_parameters()}
            fakes = last(hidden.detach())
            waiting[:] = D(functional_call(last, held, hidden)), D(fakes)
        return minimax_d(D(x), D(fakes.detach()))

    def g_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        return non_saturating_g(waiting.pop())

    turns = Turns(g_steps=2, reuse_noise=True)
    return replace(original(images, steps=steps), d_loss=d_loss, g_loss=g_loss, options={"turns": turns})


#: The changes of the repair. Fakes are sampled too, D's slope has a price, optimisers forget faster.
CHANGES: dict[str, dict[str, Any]] = {
    "tosses": {"sampled": True},
    "r1": {"gamma": 0.1},
    "beta1": {"beta1": 0.5},
}
SHORT = 5_000  # steps of the repair, and of whatever it is compared with


def changed(images: Tensor, *names: str, **options: Any) -> Recipe:
    """Return the source's recipe with some changes of the repair, for a third of its steps.

    Args:
        images: as for `original`.
        names: keys of `CHANGES`.
        options: options of `original` that go before those.
    """
    made = {key: value for name in names for key, value in CHANGES[name].items()}
    return original(images, **({"steps": SHORT} | made | options))


def repaired(images: Tensor, **options: Any) -> Recipe:
    """Return the repaired recipe: all `CHANGES`, and a third of the steps.

    Args:
        images: as for `original`.
        options: options of `original` that go before those of the repair.
    """
    return changed(images, *CHANGES, **options)


def judged(
    seeds: int, seed: int | None = None, n: int = 2_000, digits: mnist.Mnist | None = None
) -> tuple[Tensor, Tensor]:
    """Return the noise that generators are judged on, and held-out digits, sampled once.

    Args:
        seeds: how many generators.
        seed: the base seed; `gan_helpers.randomness.base_seed` unless given.
        n: how many images of each.
        digits: where the held-out ones are from; the bundled ones unless given.

    Returns:
        The noise, ``(seeds, n, 884)``, enough for `Binary`, and the digits, ``(n, 784)``.
    """
    held_out = (digits or mnist.load()).test.images[:n]
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


def two_sample(sampled: Tensor, real: Tensor, seed: int | None = None, trees: int = 0) -> Tensor:
    """Return how often a classifier tells each seed's images from real ones that it has not seen.

    Args:
        sampled: black and white images, ``(seeds, n, 784)``.
        real: as many digits, ``(n, 784)``.
        seed: of the split; `gan_helpers.randomness.base_seed` unless given.
        trees: how many trees the classifier has, a random forest; with none it is linear in the pixels.

    Returns:
        The accuracies, ``(seeds,)``; 1/2 where the two cannot be told apart.
    """
    # Loading it takes a second or two, and training alone does not need it.
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import RidgeClassifier

    tests = [
        metrics.classifier_two_sample_test(
            images,
            real,
            Stream(f"two-sample/{k}", seed),
            RandomForestClassifier(trees, random_state=k) if trees else RidgeClassifier(alpha=100.0),
        )
        for k, images in enumerate(sampled)
    ]
    return torch.tensor([test.accuracy for test in tests], dtype=torch.float64)


def stray(images: Tensor) -> Tensor:
    """Return the share of white pixels that touch no other white one, ``(seeds,)``.

    Args:
        images: black and white ones, ``(seeds, n, 784)``; pixels touch along a side or at a corner.
    """
    white = images.flatten(0, 1).reshape(-1, 1, mnist.SIDE, mnist.SIDE)
    around = avg_pool2d(white, 3, 1, 1) * 9 - white
    counts = torch.stack([white * (around < 0.5), white]).reshape(2, len(images), -1).double().sum(2)
    return counts[0] / counts[1]


def frechet_alike(sampled: Tensor, real: Tensor, judge: DigitClassifier) -> Tensor:
    """Return the Fréchet distance from real digits that have the same share of each kind, ``(seeds,)``.

    Each real digit gets the weight that makes its kind as frequent as it is among the seed's images. So what
    is left is how the images of each kind look, and not which kinds come.

    Args:
        sampled: images, ``(seeds, n, 784)``.
        real: digits, ``(m, 784)``, some of each kind.
        judge: tells the kinds, and has the features.
    """
    kinds, features = judge.predict(real), judge.features(real)
    shares = image_metrics.class_shares(judge.predict(sampled)).to(features)
    weights = (shares / kinds.bincount(minlength=10))[:, kinds]
    mean = weights @ features
    centred = features - mean.unsqueeze(1)
    covariance = centred.mT @ (weights.unsqueeze(2) * centred)
    fit = metrics.fit_gaussian(judge.features(sampled))
    return metrics.w2_gaussian(fit.mean, fit.covariance, mean, covariance) ** 2


def criticised(
    sampled: Tensor, real: Tensor, judge: DigitClassifier, seed: int | None = None
) -> dict[str, Tensor]:
    """Return how images compare with real digits by several measures, each ``(seeds,)``.

    Args:
        sampled: black and white images, ``(seeds, n, 784)``.
        real: as many digits, ``(n, 784)``.
        judge: the classifier whose features are compared.
        seed: the base seed of the splits; `gan_helpers.randomness.base_seed` unless given.

    Returns:
        The Fréchet distance in features, and as ``alike`` that of `frechet_alike`; the accuracy of
        `two_sample`, and as ``forest`` that with 200 trees; the share of `stray` pixels, and the number of
        digits that make up at least 1 % of the images.
    """
    return {
        "frechet": image_metrics.frechet_distance(judge.features(sampled), judge.features(real)),
        "alike": frechet_alike(sampled, real, judge),
        "two_sample": two_sample(sampled, real, seed),
        "forest": two_sample(sampled, real, seed, trees=200),
        "stray": stray(sampled),
        "digits": _digits(sampled, judge),
    }


def _digits(sampled: Tensor, judge: DigitClassifier) -> Tensor:
    """Return how many digits make up at least 1 % of each seed's images."""
    shares = image_metrics.class_shares(judge.predict(sampled))
    return (shares >= 0.01).sum(1).double()


def copied(sampled: Tensor, train: Tensor, held_out: Tensor) -> Tensor:
    r"""Return the share of each seed's images that are copies, told from what they are nearest to.

    .. math:: \frac{s - e}{1 - e}, \qquad e = \frac{n}{n + m}

    with s the share of images whose nearest among all n training and m held-out ones is a training one. For
    new images it is e on average, wherever they are; for copies it is 1.

    Args:
        sampled: images, ``(seeds, k, 784)``.
        train: all that the generator learned from, ``(n, 784)``.
        held_out: others, ``(m, 784)``.
    """
    index = image_metrics.nearest(sampled, torch.cat([train, held_out])).index
    expected = len(train) / (len(train) + len(held_out))
    return ((index < len(train)).double().mean(1) - expected) / (1 - expected)


def measure(
    G: Ensemble,
    D: Ensemble,
    judge: DigitClassifier,
    seed: int | None = None,
    digits: mnist.Mnist | None = None,
) -> dict[str, Tensor]:
    """Return what D answers and how the images compare with held-out digits, each ``(seeds,)``.

    Args:
        G: the generators.
        D: their discriminators.
        judge: the classifier whose features are compared.
        seed: the base seed of what they are judged on; `gan_helpers.randomness.base_seed` unless given.
        digits: what they learned from, and held-out ones; the bundled digits unless given.

    Returns:
        The columns of `answers` and ``grey_share``; of the sampled images the Fréchet distance in features,
        the accuracy of `two_sample`, the number of digits that make up at least 1 % of them, the share that
        is nearer to one of as many training images than to a held-out one, and `copied`.
    """
    digits = digits or mnist.load()
    z, real = judged(G.seeds, seed, digits=digits)
    grey, sampled = pictures(G, z)
    train = digits.train.images[: len(real)]
    shown = mnist.binarise(train, Stream("judged/train", seed, train.device))
    return {
        **answers(D, grey, sampled, real),
        "grey_share": grey_share(grey),
        "frechet": image_metrics.frechet_distance(judge.features(sampled), judge.features(real)),
        "two_sample": two_sample(sampled, real, seed),
        "digits": _digits(sampled, judge),
        "copying": image_metrics.copying(sampled, shown, real),
        "copied": copied(sampled, digits.train.images, digits.test.images),
    }


def follow(make: Callable[[Tensor], Recipe], seeds: int, seed: int, every: int = 5_000) -> Columns:
    """Train by a recipe on the bundled digits, and return what it is like on the way and at the end.

    Args:
        make: makes the recipe from the real images.
        seeds: how many runs.
        seed: the base seed.
        every: steps between two measurements.

    Returns:
        By names such as ``frechet_5000``, each ``(seeds,)``: what `measure` says, and by names such as
        ``g_loss_1000`` the losses at the steps of `LOGGED`.
    """
    judge = load_judge()
    recipe = make(mnist.load().train.images)
    G, D = recipe.networks(seeds, seed=seed)
    history = recipe.train(G, D, seed=seed, watch=Watch(lambda G: measure(G, D, judge, seed), every))
    history.require_whole()
    return columns(history)


def columns(history: History, steps: Iterable[int] = LOGGED) -> Columns:
    """Return a run that was watched as the columns of a table, each ``(seeds,)``.

    Args:
        history: of the run.
        steps: at which ones the losses are kept.
    """
    losses = {"g_loss": history.g_loss, "d_loss": history.d_loss}
    logged = {
        f"{name}_{step}": values[step - 1]
        for step in steps
        if step <= history.steps
        for name, values in losses.items()
    }
    measured = {
        f"{name}_{step}": values[i]
        for i, step in enumerate(history.at.tolist())
        if i  # before the first step there is nothing to tell
        for name, values in history.watched.items()
    }
    return logged | measured


@torch.no_grad()
def remembered(G: Ensemble, D: Ensemble, seen: Tensor, fresh: Tensor, z: Tensor) -> dict[str, Tensor]:
    """Return what D answers to digits that it learned from, to others and to fakes, each ``(seeds,)``.

    Args:
        G: the generators.
        D: the discriminators.
        seen: images that D learned from, ``(n, 784)``.
        fresh: images that it did not, ``(n, 784)``.
        z: noise for the generators, ``(seeds, n, ...)``.

    Returns:
        D's share of right answers, by names such as ``right_seen``, and its mean logits, as ``logit_seen``.
    """
    said = {
        "seen": D(seen.expand(D.seeds, -1, -1)),
        "fresh": D(fresh.expand(D.seeds, -1, -1)),
        "fake": D(G(z)),
    }
    shares = {
        f"right_{kind}": ((a < 0) if kind == "fake" else (a >= 0)).double().mean((1, 2))
        for kind, a in said.items()
    }
    return shares | {f"logit_{kind}": a.double().mean((1, 2)) for kind, a in said.items()}


def remember(
    make: Callable[[Tensor], Recipe], seeds: int, seed: int, digits: mnist.Mnist | None = None
) -> Columns:
    """Train by a recipe, and return what D makes of digits that it has seen and of others on the way.

    Args:
        make: makes the recipe from the real images.
        seeds: how many runs.
        seed: the base seed.
        digits: what to learn from, and held-out ones; the bundled digits unless given.

    Returns:
        After every 1,000 steps what `remembered` says, and the losses; after the last step what `measure`
        says, and as ``frechet_grey`` the distance of the grey images from grey held-out digits.
    """
    judge, digits = load_judge(), digits or mnist.load()
    recipe = make(digits.train.images)
    G, D = recipe.networks(seeds, seed=seed)
    z, held_out = judged(seeds, seed, digits=digits)
    kinds = digits.train.images[: len(held_out)], digits.test.images[: len(held_out)]
    if isinstance(recipe.data, Binarised):
        kinds = mnist.binarise(kinds[0], Stream("seen", seed, z.device)), held_out
    noise = z[..., : recipe.noise(1, 1, Stream("width", seed)).shape[2]]
    watch = Watch(lambda G: remembered(G, D, *kinds, noise), 1_000)
    history = recipe.train(G, D, seed=seed, watch=watch)
    history.require_whole()
    features = judge.features(pictures(G, z)[0]), judge.features(digits.test.images[: len(held_out)])
    ends = measure(G, D, judge, seed, digits) | {"frechet_grey": image_metrics.frechet_distance(*features)}
    return columns(history, SOURCE_LOG) | {f"{name}_{history.steps}": v for name, v in ends.items()}


def source_digits() -> mnist.Mnist:
    """Return as many digits as the source learned from, and the 5,000 others of MNIST's training set.

    Raises:
        FileNotFoundError: if the full set can't be had.
    """
    every = full_digits(60_000).train
    return mnist.Mnist(every[:WHOLE], every[WHOLE:])


def whole(make: Callable[[Tensor], Recipe], seeds: int, seed: int) -> Columns:
    """Train by a recipe on as many digits as the source did, and return what became of it.

    Args:
        make: makes the recipe from the real images.
        seeds: how many runs.
        seed: the base seed.

    Returns:
        What `remember` says.
    """
    return remember(make, seeds, seed, source_digits())


def whole_plain(seeds: int, seed: int) -> Columns:
    """Return how held-out digits do beside others, and a `mixture` of as many digits as the source had.

    Args:
        seeds: how many fits, and how many ways to split the 5,000 held-out digits of `source_digits`.
        seed: the base seed.

    Returns:
        The Fréchet distance in features and the accuracy of `two_sample` from 2,000 held-out digits, by names
        such as ``frechet_mixture``; as ``frechet_floor`` and ``two_sample_floor`` those of 2,000 others. As
        ``copied_mixture`` and ``copied_new`` what `copied` says of 2,000 samples of the mixture and of one
        half of the held-out digits, tossed, beside the other half.
    """
    digits, judge = source_digits(), load_judge()
    held_out, train = digits.test.images, digits.train.images
    found: list[Columns] = []
    for k in range(seeds):
        rng = Stream(f"plain/{k}", seed, held_out.device)
        chosen = held_out[rng.permutation(len(held_out))[:4_000]]
        others, real = mnist.binarise(chosen, rng).chunk(2)
        made = {"floor": others, "mixture": mixed(train, rng, len(real))}
        new, beside = held_out[rng.permutation(len(held_out))].chunk(2)
        found.append(
            {
                f"{measure}_{name}": value
                for name, x in made.items()
                for measure, value in {
                    "frechet": image_metrics.frechet_distance(
                        judge.features(x.unsqueeze(0)), judge.features(real)
                    ),
                    "two_sample": two_sample(x.unsqueeze(0), real, seed),
                }.items()
            }
            | {
                "copied_mixture": copied(made["mixture"].unsqueeze(0), train, held_out),
                "copied_new": copied(mnist.binarise(new, rng).unsqueeze(0), train, beside),
            }
        )
    return {name: torch.cat([split[name] for split in found]) for name in found[0]}


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


def begun(seeds: int, seed: int) -> Columns:
    """Return what both recipes are like where the chapter stops them, after `BEGUN` steps.

    Args:
        seeds: how many runs of each.
        seed: the base seed.

    Returns:
        By names such as ``d_loss_repaired``, each ``(seeds,)``: the mean losses of the last 500 steps,
        `answers`, the share of grey pixels and the Fréchet distance in features.
    """
    judge, images = load_judge(), mnist.load().train.images
    z, real = judged(seeds, seed)
    found: Columns = {}
    for name, make in {"original": original, "repaired": repaired}.items():
        recipe = make(images, steps=BEGUN[name])
        G, D = recipe.networks(seeds, seed=seed)
        history = recipe.train(G, D, seed=seed).require_whole()
        grey, sampled = pictures(G, z)
        measured = {
            "g_loss": history.g_loss[-500:].mean(0),
            "d_loss": history.d_loss[-500:].mean(0),
            **answers(D, grey, sampled, real),
            "grey_share": grey_share(grey),
            "frechet": image_metrics.frechet_distance(judge.features(sampled), judge.features(real)),
        }
        found |= {f"{key}_{name}": values for key, values in measured.items()}
    return found


def mixture(
    images: Tensor, rng: Stream, components: int = COMPONENTS, rounds: int = 30
) -> tuple[Tensor, Tensor]:
    r"""Return a mixture of blocks of coins, fitted by maximum likelihood; it has as many weights as G.

    .. math:: p(x) = \sum_k w_k \prod_i p_{ki}^{x_i} (1 - p_{ki})^{1 - x_i}

    It is fitted by expectation and maximisation. Each component also counts one mean image, which keeps its
    odds away from 0 and 1 where the data are not all alike.

    Args:
        images: black and white ones, ``(n, 784)``.
        rng: the stream that chooses the first odds.
        components: how many kinds there are.
        rounds: how often both steps are taken.

    Returns:
        The weights, ``(components,)``, and the odds, ``(components, 784)``.
    """
    mean = images.mean(0)
    odds = (images[rng.permutation(len(images))[:components]] + mean) / 2
    shares = torch.full_like(odds[:, 0], 1 / components)
    for _ in range(rounds):
        odds = odds.clamp(1e-4, 1 - 1e-4)
        logits = images @ (odds.logit().T) + (1 - odds).log().sum(1) + shares.log()
        belongs = logits.softmax(1)
        counts = belongs.sum(0)
        shares = counts / len(images)
        odds = (belongs.T @ images + mean) / (counts.unsqueeze(1) + 1)
    return shares, odds


def mixed(images: Tensor, rng: Stream, n: int = 2_000) -> Tensor:
    """Return samples of a `mixture` that was fitted to one toss of images, ``(n, 784)``.

    Args:
        images: grey levels, ``(rows, 784)``.
        rng: the stream to draw from.
        n: how many samples.
    """
    shares, odds = mixture(mnist.binarise(images, rng), rng)
    chosen = torch.searchsorted(shares.cumsum(0), rng.uniform(n)).clamp(max=len(odds) - 1)
    return mnist.binarise(odds[chosen], rng)


def plain(seeds: int, seed: int) -> Columns:
    """Return how two ways without a game do, images dealt out again and a `mixture`, and the floor of both.

    Args:
        seeds: how many runs of each.
        seed: the base seed.

    Returns:
        What `criticised` says, by names such as ``frechet_mixture`` and ``two_sample_dealt``, each
        ``(seeds,)``; as ``frechet_floor`` of one half of the held-out digits beside the other half, split
        anew in each run, and as ``frechet_few`` of as many training digits, dealt out, beside that half. As
        ``copied_mixture`` and ``copied_dealt`` what `copied` says.
    """
    digits, judge = mnist.load(), load_judge()
    images = digits.train.images
    _, real = judged(1, seed)
    found: list[Columns] = []
    for k in range(seeds):
        rng = Stream(f"plain/{k}", seed, images.device)
        again, samples = dealt(images, rng, len(real)), mixed(images, rng, len(real))
        half, other = real[rng.permutation(len(real))].chunk(2)
        sides = {
            "dealt": (again, real),
            "mixture": (samples, real),
            "floor": (half, other),
            "few": (dealt(images, rng, len(other)), other),
        }
        found.append(
            {
                f"{key}_{name}": value
                for name, (x, beside) in sides.items()
                for key, value in criticised(x.unsqueeze(0), beside, judge, seed).items()
            }
            | {
                f"copied_{name}": copied(x.unsqueeze(0), images, digits.test.images)
                for name, x in (("dealt", again), ("mixture", samples))
            }
        )
    return {name: torch.cat([run[name] for run in found]) for name in found[0]}


#: The games whose fakes are looked at more closely, by their changes.
CLOSELY = {"original": (), "penalised": ("r1", "beta1"), "repaired": tuple(CHANGES)}


def closely(seeds: int, seed: int) -> Columns:
    """Train by the recipes of `CLOSELY` for `SHORT` steps, and return what `criticised` says of the fakes.

    Args:
        seeds: how many runs of each.
        seed: the base seed.

    Returns:
        By names such as ``forest_repaired``, each ``(seeds,)``.
    """
    judge, images = load_judge(), mnist.load().train.images
    z, real = judged(seeds, seed)
    found: Columns = {}
    for name, changes in CLOSELY.items():
        recipe = changed(images, *changes, steps=SHORT)
        G, D = recipe.networks(seeds, seed=seed)
        recipe.train(G, D, seed=seed).require_whole()
        said = criticised(pictures(G, z)[1], real, judge, seed)
        found |= {f"{key}_{name}": values for key, values in said.items()}
    return found


def dealt(images: Tensor, rng: Stream, n: int = 2_000, shift: int = 0) -> Tensor:
    """Return images that were chosen at random, moved and tossed anew, ``(n, 784)``: what a copier makes.

    Args:
        images: grey levels, ``(rows, 784)``.
        rng: the stream to draw from.
        n: how many, each of another image.
        shift: by how many pixels each is moved to the right.
    """
    chosen = images[rng.permutation(len(images))[:n]].unflatten(1, (mnist.SIDE, mnist.SIDE))
    return mnist.binarise(chosen.roll(shift, 2).flatten(1), rng)


def copiers(seeds: int, seed: int) -> Columns:
    """Return what two tests of copying say of generators that copy, and of digits that are new.

    Args:
        seeds: how many runs of each.
        seed: the base seed.

    Returns:
        By names such as ``copied_all`` and ``copying_all``, each ``(seeds,)``: who copies all training
        images, those from 2,000 to 3,999, and all of them moved by one pixel or two. The others are beside
        digits that are dealt out anew in each run: of all of them a fifth to be new, and the rest in the
        proportions of training and held-out ones. As ``copied_new`` the new digits, as ``copied_strange`` a
        `mixture` that was fitted to these, and as ``copied_fitted`` one that was fitted to the training ones.
    """
    digits = mnist.load()
    train, held_out = digits.train.images, digits.test.images
    rng = Stream("copiers", seed, train.device)
    runs = range(seeds)
    made = {
        "all": [dealt(train, rng) for _ in runs],
        "middle": [dealt(train[2_000:4_000], rng) for _ in runs],
        "moved_1": [dealt(train, rng, shift=1) for _ in runs],
        "moved_2": [dealt(train, rng, shift=2) for _ in runs],
    }
    stacked = {name: torch.stack(several) for name, several in made.items()}
    some = len(held_out)
    every = torch.cat([train, held_out])
    found: list[Columns] = []
    for _ in runs:
        new, known = every[rng.permutation(len(every))].split([some, len(train)])
        held = some * len(train) // len(every)
        met, others = known.split([len(train) - held, held])
        images = {"new": mnist.binarise(new, rng), "strange": mixed(new, rng), "fitted": mixed(met, rng)}
        found.append({f"copied_{name}": copied(x.unsqueeze(0), met, others) for name, x in images.items()})
    # As in `measure`, this test looks at digits that were tossed too.
    shown, real = mnist.binarise(train[:some], rng), mnist.binarise(held_out, rng)
    return (
        {f"copied_{name}": copied(x, train, held_out) for name, x in stacked.items()}
        | {f"copying_{name}": image_metrics.copying(x, shown, real) for name, x in stacked.items()}
        | {name: torch.cat([run[name] for run in found]) for name in found[0]}
    )


def _changed(*names: str) -> Callable[[Tensor], Recipe]:
    """Return what makes the recipe with these changes."""
    return lambda images: changed(images, *names)


#: The tables that have the runs of the repair taken apart. Fakes are tossed, and the game is calmer.
REPAIR = {
    "none": "original",
    "only_tosses": "sampled",
    "only_calm": "penalised",
    "without_tosses": "penalised",
    "without_calm": "sampled",
    "all": "repaired",
}

#: The same with the two halves of the calm told apart.
HALVES = {
    "none": "original",
    "only_tosses": "sampled",
    "only_r1": "slope",
    "only_beta1": "memory",
    "without_tosses": "penalised",
    "without_r1": "tossed_memory",
    "without_beta1": "tossed_slope",
    "all": "repaired",
}


def ending(table: str, step: int) -> Columns:
    """Return what a table says after some steps, by names without their number: ``frechet`` and others.

    Args:
        table: the table, such as ``"repaired"``.
        step: after which step.
    """
    last = f"_{step}"
    columns = ledger(f"edward_mnist_{table}").items()
    return {key.removesuffix(last): values for key, values in columns if key.endswith(last)}


def apart(tables: Mapping[str, str]) -> Columns:
    """Return changes taken apart after 5,000 steps, as `gan_helpers.recipes.taken_apart` would.

    Args:
        tables: the table that has the runs of each combination, such as `REPAIR`. What they have in common
            are the seeds of the shortest one.

    Returns:
        Columns such as ``frechet_only_r1``, each ``(seeds,)``.
    """
    ends = {name: ending(table, SHORT) for name, table in tables.items()}
    shared = min(len(end["frechet"]) for end in ends.values())
    return {f"{key}_{name}": values[:shared] for name, end in ends.items() for key, values in end.items()}


#: The recipes that are run on as many digits as the source had. A run takes two minutes of a core.
WHOLE_RUNS: dict[str, Callable[[Tensor], Recipe]] = {
    "whole": original,
    "whole_grey": partial(original, grey=True),
    "whole_as_run": interleaved,
}

TABLES = {
    "early": Table(early, 20, ensemble=4),
    "begun": Table(begun, 16, ensemble=4),
    "original": Table(partial(follow, original), 20, ensemble=4),
    "sampled": Table(partial(follow, _changed("tosses")), 20, ensemble=4),
    "slope": Table(partial(follow, _changed("r1")), 8, ensemble=4),
    "memory": Table(partial(follow, _changed("beta1")), 8, ensemble=4),
    "tossed_slope": Table(partial(follow, _changed("tosses", "r1")), 8, ensemble=4),
    "tossed_memory": Table(partial(follow, _changed("tosses", "beta1")), 8, ensemble=4),
    "penalised": Table(partial(follow, _changed("r1", "beta1")), 20, ensemble=4),
    "repaired": Table(partial(follow, repaired), 20, ensemble=4),
    "remembered": Table(partial(remember, original), 8, ensemble=4),
    "grey": Table(partial(remember, partial(original, grey=True)), 8, ensemble=4),
    **{name: Table(partial(whole, make), 12, ensemble=4) for name, make in WHOLE_RUNS.items()},
    "whole_plain": Table(whole_plain, 8, ensemble=8),
    "plain": Table(plain, 8, ensemble=8),
    "copiers": Table(copiers, 8, ensemble=8),
    "closely": Table(closely, 8, ensemble=4),
}


PAGE = 0  # the base seed of the chapter's own runs, unless the reader gives another


@cache
def _inputs() -> Tensor:
    """Return the first noise that the chapter judges by, ``(1, 32, 884)``."""
    return judged(1, PAGE)[0][:, :32]


def _drawn(G: Ensemble) -> Tensor:
    """Return what a generator draws from it: grey images, ``(1, 32, 784)``."""
    return pictures(G, _inputs())[0]


#: The runs that the chapter begins, to their ends.
ALBUMS = {
    "original": Album(
        lambda: original(*inputs(1)),
        _drawn,
        {250: 16, 5_000: 16, 8_000: 16, 11_000: 16, 14_000: 16, STEPS: 32},
        PAGE,
    ),
    "repaired": Album(
        lambda: repaired(*inputs(1)), _drawn, {250: 16, 2_000: 16, 3_000: 16, 4_000: 16, SHORT: 32}, PAGE
    ),
}
