"""Convolutional digits: the rules of DCGAN, each of which can be broken, and a repair to be taken apart.

The source is Radford, Metz and Chintala (2016). What its text leaves open was read from the program of its
third author: kernels of 4 by 4, normal noise, gains that start near 1. Its networks are cut to 28 by 28
pixels and to 16 and 32 channels, so that two cores can train them, and its batch of 128 to 64.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gan_helpers import _checks, classifier, mnist
from gan_helpers.albums import ACROSS, Album
from gan_helpers.data import Minibatches, StandardNormal
from gan_helpers.ensemble import Ensemble
from gan_helpers.losses import minimax_d, non_saturating_g, relativistic_d, relativistic_g
from gan_helpers.options import Watch
from gan_helpers.penalties import r1_r2
from gan_helpers.randomness import Stream
from gan_helpers.recipes import Recipe, bundled_digits, edward_mnist, full_digits, taken_apart, trained
from gan_helpers.recipes.maxout_mnist import measure
from gan_helpers.tables import FIRST_SEED, Columns, Table
from gan_helpers.training import adam

SIDE = mnist.SIDE
PIXELS = SIDE**2
NOISE = StandardNormal(100)
BATCH = 64
CHANNELS = (16, 32)  # of 14 by 14 and of 7 by 7 pixels
DENSE = {"G": (454, 454), "D": (387, 387)}  # widths at which dense networks multiply as often
STEPS = 500  # of the tables, and of the chapter's own runs
WHOLE = 20_000  # of the long runs
AT = (500, 1_000, 2_000, 5_000, 10_000, 15_000, 20_000)  # when these are measured
JUDGED = 2_000  # images that a measure compares with as many real ones
inputs = bundled_digits

Up = Literal["transposed", "upsampled"]
Down = Literal["strided", "pooled"]


# The networks


def _padding(kernel: int) -> tuple[int, int]:
    """Return the padding that halves or doubles a side, and the output padding of a transposed kernel."""
    return (kernel - 1) // 2, kernel % 2


def doubled(fan_in: int, fan_out: int, kernel: int = 4, up: Up = "transposed") -> list[nn.Module]:
    """Return layers that double height and width.

    Args:
        fan_in: channels that come in.
        fan_out: channels that go out.
        kernel: height and width of the kernel of a transposed convolution with stride 2.
        up: that, or each pixel four times and then a convolution of 3 by 3.

    Raises:
        ValueError: if ``up`` is neither.
    """
    if up == "upsampled":
        return [nn.Upsample(scale_factor=2), nn.Conv2d(fan_in, fan_out, 3, padding=1)]
    if up != "transposed":
        raise ValueError(f'up must be "transposed" or "upsampled", not {up!r}.')
    padding, further = _padding(kernel)
    return [nn.ConvTranspose2d(fan_in, fan_out, kernel, 2, padding, output_padding=further)]


def halved(fan_in: int, fan_out: int, kernel: int = 4, down: Down = "strided") -> list[nn.Module]:
    """Return layers that halve height and width.

    Args:
        fan_in: channels that come in.
        fan_out: channels that go out.
        kernel: height and width of the kernel of a convolution with stride 2.
        down: that, or a convolution of 3 by 3 with stride 1 and then the largest of each four pixels.

    Raises:
        ValueError: if ``down`` is neither.
    """
    if down == "pooled":
        return [nn.Conv2d(fan_in, fan_out, 3, padding=1), nn.MaxPool2d(2)]
    if down != "strided":
        raise ValueError(f'down must be "strided" or "pooled", not {down!r}.')
    return [nn.Conv2d(fan_in, fan_out, kernel, 2, (kernel - 1) // 2)]


def started(network: nn.Module) -> nn.Module:
    """Start weights as the source does: N(0, 0.02), gains N(1, 0.02), all else at 0.

    Args:
        network: it is changed, and returned.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d | nn.BatchNorm1d):
            mean = float(isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d))
            nn.init.normal_(layer.weight, mean, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network


def generator(
    *,
    channels: tuple[int, int] = CHANNELS,
    kernel: int = 4,
    up: Up = "transposed",
    norm: bool = True,
    norm_last: bool = False,
    hidden: int = 0,
    leaky: bool = False,
    grey: bool = False,
    source_start: bool = True,
    colours: int = 1,
    features: int = NOISE.features,
) -> nn.Module:
    """Return a generator: noise to 7 by 7 pixels of many channels, twice doubled, to rows of 784 pixels.

    Args:
        channels: those of 14 by 14 pixels and those of 7 by 7.
        kernel: of the transposed convolutions.
        up: how a side is doubled.
        norm: normalise all layers but the last over the batch.
        norm_last: normalise the last one too.
        hidden: so many relu in a dense layer before all others; none if 0.
        leaky: leaky relu in place of relu.
        grey: a sigmoid in place of tanh, so that pixels are from 0 to 1.
        source_start: first weights of the source, or else torch's own.
        colours: channels of an image; one behind the other in its row.
        features: numbers in its input.
    """
    few, many = channels

    def active(*shape: int) -> list[nn.Module]:
        normal = [nn.BatchNorm2d(shape[0])] if norm else []
        return [*normal, nn.LeakyReLU(0.2) if leaky else nn.ReLU()]

    first = [nn.Linear(features, hidden), nn.ReLU()] if hidden else []
    network = nn.Sequential(
        *first,
        nn.Linear(hidden or features, many * 49),
        nn.Unflatten(-1, (many, 7, 7)),
        *active(many),
        *doubled(many, few, kernel, up),
        *active(few),
        *doubled(few, colours, kernel, up),
        *([nn.BatchNorm2d(colours)] if norm_last else []),
        nn.Sigmoid() if grey else nn.Tanh(),
        nn.Flatten(1),
    )
    return started(network) if source_start else network


def discriminator(
    *,
    channels: tuple[int, int] = CHANNELS,
    kernel: int = 4,
    down: Down = "strided",
    norm: bool = True,
    norm_first: bool = False,
    hidden: int = 0,
    relu: bool = False,
    source_start: bool = True,
    colours: int = 1,
) -> nn.Module:
    """Return a discriminator: rows of 784 pixels, twice halved, to a logit.

    Args:
        channels: those of 14 by 14 pixels and those of 7 by 7.
        kernel: of the convolutions.
        down: how a side is halved.
        norm: normalise the second convolution over the batch.
        norm_first: normalise the first one too.
        hidden: so many leaky relu in a dense layer before the logit; none if 0.
        relu: relu in place of leaky relu.
        source_start: first weights of the source, or else torch's own.
        colours: channels of an image.
    """
    few, many = channels
    active = nn.ReLU if relu else partial(nn.LeakyReLU, 0.2)
    last = [nn.Linear(many * 49, hidden), active()] if hidden else []
    network = nn.Sequential(
        nn.Unflatten(-1, (colours, SIDE, SIDE)),
        *halved(colours, few, kernel, down),
        *([nn.BatchNorm2d(few)] if norm_first else []),
        active(),
        *halved(few, many, kernel, down),
        *([nn.BatchNorm2d(many)] if norm else []),
        active(),
        nn.Flatten(1),
        *last,
        nn.Linear(hidden or many * 49, 1),
    )
    return started(network) if source_start else network


def dense_generator() -> nn.Module:
    """Return a generator of dense layers that multiplies as often as `generator` does."""
    a, b = DENSE["G"]
    return nn.Sequential(
        nn.Linear(NOISE.features, a), nn.BatchNorm1d(a), nn.ReLU(),
        nn.Linear(a, b), nn.BatchNorm1d(b), nn.ReLU(),
        nn.Linear(b, PIXELS), nn.Tanh(),
    )  # fmt: skip


def dense_discriminator() -> nn.Module:
    """Return a discriminator of dense layers that multiplies as often as `discriminator` does."""
    a, b = DENSE["D"]
    return nn.Sequential(
        nn.Linear(PIXELS, a), nn.LeakyReLU(0.2), nn.Linear(a, b), nn.LeakyReLU(0.2), nn.Linear(b, 1)
    )


def multiplications(network: nn.Module, features: int) -> int:
    """Return how often a network multiplies for one sample, in its linear maps and convolutions.

    Args:
        network: a plain network.
        features: numbers in a sample.
    """
    counts: list[int] = []

    def count(layer: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        # A transposed convolution multiplies each number that comes in, others make each one that goes out.
        places = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
        counts.append(layer.weight.numel() * places[0, 0].numel())

    kinds = nn.Linear | nn.Conv2d | nn.ConvTranspose2d
    hooks = [layer.register_forward_hook(count) for layer in network.modules() if isinstance(layer, kinds)]
    with torch.no_grad():
        network.eval()(torch.zeros(1, features))
    for hook in hooks:
        hook.remove()
    return sum(counts)


# The recipes


def original(
    images: Tensor,
    *,
    G: Callable[[], nn.Module] = generator,
    D: Callable[[], nn.Module] = discriminator,
    pairing: bool = False,
    gamma: float = 0.0,
    lr: float = 2e-4,
    betas: tuple[float, float] = (0.5, 0.999),
    ema: float | None = None,
    grey: bool = False,
    steps: int = STEPS,
) -> Recipe:
    r"""Return the source's recipe for these images, or one that differs from it in what is given.

    With weight :math:`\gamma` D pays for its slope at real images and at fakes,
    :math:`\frac{\gamma}{2} (R_1 + R_2)`. Real images and fakes are normalised apart from each other.

    Args:
        images: the real images, ``(n, 784)``, from 0 to 1.
        G: makes one generator.
        D: makes one discriminator.
        pairing: the relativistic losses in place of those of the first GAN.
        gamma: the weight of the penalties, in logits per squared unit of slope; pixels are from -1 to 1.
        lr: the step size of both players.
        betas: those of their Adam.
        ema: the decay of an average of G's weights, if there is to be one.
        grey: leave the pixels from 0 to 1, for a G that ends in a sigmoid.
        steps: how many it takes.

    Raises:
        TypeError: if ``images`` is not a floating-point tensor.
        ValueError: if it is empty or of another shape.
    """
    _checks.floating("images", images, f"(n, {PIXELS})", dims=2)

    def d_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        fake = G(z).detach()
        loss = (relativistic_d if pairing else minimax_d)(D(x), D(fake))
        return loss + gamma * r1_r2(D, x, fake) if gamma else loss

    def g_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        fake = D(G(z))
        return relativistic_g(D(x).detach(), fake) if pairing else non_saturating_g(fake)

    return Recipe(
        G=G,
        D=D,
        data=Minibatches(images if grey else 2 * images - 1),
        noise=NOISE,
        d_loss=d_loss,
        g_loss=g_loss,
        d_opt=lambda D: adam(D, lr, betas),
        g_opt=lambda G: adam(G, lr, betas),
        steps=steps,
        batch=BATCH,
        options={} if ema is None else {"ema": ema},
    )


# What is measured


def levels(images: Tensor) -> Tensor:
    """Return images in the 256 grey levels of the real ones.

    Args:
        images: pixels from -1 to 1, ``(seeds, n, 784)``.

    Returns:
        Bytes of the same shape.
    """
    return images.add(1).mul(127.5).round().byte()


def drawn(G: Ensemble, noise: Tensor, grey: bool = False) -> Tensor:
    """Return what generators make of noise in evaluation mode, in bytes, ``(seeds, n, 784)``.

    Args:
        G: the generators.
        noise: their input, ``(seeds, n, 100)``.
        grey: whether their pixels are from 0 to 1, and not from -1.
    """
    was = G.training
    with torch.no_grad():
        images: Tensor = G.eval()(noise)
    G.train(was)
    return levels(2 * images - 1 if grey else images)


def _page(G: Ensemble, seed: int | None) -> Tensor:
    """Return the noise of the images by which generators are judged, ``(seeds, 2000, 100)``."""
    return NOISE(G.seeds, JUDGED, Stream("shown", seed, next(G.parameters()).device))


def checker(images: Tensor, period: int = 4) -> Tensor:
    r"""Return how much of what varies within images repeats itself after some pixels.

    With :math:`m_{ab}` the mean of the pixels whose row leaves the rest a, and whose column the rest b, it is

    .. math:: \frac{\sum \operatorname{Var}_{ab}(m_{ab})}{\sum \operatorname{Var}_{ij}(x_{ij})}

    with the sums over the images. Two layers that double make patterns of period 4 and 2, which divides it.

    Args:
        images: grey levels, ``(seeds, n, 784)``.
        period: in pixels; it divides 28.

    Returns:
        Shares from 0 to 1, ``(seeds,)``; of white noise it is :math:`(period^2 - 1) / 783`.

    Raises:
        ValueError: if 28 is no multiple of ``period``.
    """
    if SIDE % _checks.whole("period", period):
        raise ValueError(f"period must divide {SIDE}, not be {period}.")
    cells = SIDE // period
    pixels = images.double().unflatten(2, (cells, period, cells, period))
    means = pixels.mean((2, 4)).flatten(2)
    within = images.double().var(2, correction=0).sum(1).clamp(min=torch.finfo(torch.double).tiny)
    shares: Tensor = means.var(2, correction=0).sum(1) / within
    return shares


def on_line(a: Tensor, b: Tensor, t: Tensor | float) -> Tensor:
    """Return the points of a straight line, ``(1 - t) a + t b``.

    Args:
        a: where it starts, ``(..., features)``.
        b: where it ends.
        t: how far along, from 0 to 1; it fits ``(..., 1)``.
    """
    return (1 - t) * a + t * b


def on_sphere(a: Tensor, b: Tensor, t: Tensor | float) -> Tensor:
    r"""Return points of the arc between two points, with their norms in between.

    .. math:: \frac{\sin((1 - t)\, \theta)\, a + \sin(t\, \theta)\, b}{\sin \theta}

    with :math:`\theta` the angle between a and b.

    Args:
        a: where it starts, ``(..., features)``.
        b: where it ends, in another direction that is not the opposite one.
        t: how far along, from 0 to 1; it fits ``(..., 1)``.

    Reference:
        White, *Sampling generative networks*, 2016, https://arxiv.org/abs/1609.04468.
    """
    cosine = torch.cosine_similarity(a, b, dim=-1).unsqueeze(-1)
    angle = cosine.clamp(-1, 1).acos()
    points: Tensor = (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / angle.sin()
    return points


def walked(G: Ensemble, digits: mnist.Digits, seed: int) -> Columns:
    """Return how good the images half-way between two of noise are, and what a step of length 1 does.

    Args:
        G: the generators, of pixels from -1 to 1.
        digits: real ones to compare with, held out.
        seed: of the noise.

    Returns:
        The Fréchet distance of fakes made half-way on a line and on an arc, ``frechet_line`` and
        ``frechet_arc``; the root mean square change of a pixel over a step of length 1 in a random direction,
        in units of full ink, ``felt``. Each is ``(seeds,)``.
    """
    rng = Stream("walk", seed, next(G.parameters()).device)
    a, b, step = (NOISE(G.seeds, len(digits), rng) for _ in range(3))
    judge = classifier.load()
    columns: Columns = {}
    for name, way in (("line", on_line), ("arc", on_sphere)):
        columns[f"frechet_{name}"] = measure(drawn(G, way(a, b, 0.5)), digits, judge)["frechet"]
    moved = drawn(G, a + step / step.norm(dim=2, keepdim=True))
    columns["felt"] = (moved.double() - drawn(G, a)).div(255).square().mean((1, 2)).sqrt()
    return columns


def judged(G: Ensemble, seed: int | None = None, order: Tensor | None = None, grey: bool = False) -> Columns:
    """Return what the fakes of trained generators are like beside the held-out digits.

    Args:
        G: the generators.
        seed: of the noise; the base seed unless given.
        order: how the pixels were shuffled, if they were; they are put back before they are looked at.
        grey: whether the pixels are from 0 to 1.

    Returns:
        What `gan_helpers.recipes.maxout_mnist.measure` says of 2,000 images, and their `checker`, each
        ``(seeds,)``.
    """
    images = drawn(G, _page(G, seed), grey)
    images = images if order is None else put_back(images, order)
    digits = mnist.load().test
    return measure(images, digits, classifier.load()) | {"checker": checker(images)}


def order_of_pixels(seed: int = 0) -> Tensor:
    """Return one order of the 784 pixels, in which all images are shuffled.

    Args:
        seed: which one.
    """
    return Stream("order", seed).permutation(PIXELS)


def put_back(images: Tensor, order: Tensor) -> Tensor:
    """Undo ``images[..., order]``.

    Args:
        images: whose pixels are shuffled, ``(..., 784)``.
        order: how.
    """
    return images[..., order.argsort()]


#: The rules of the source, each as what breaks it.
RULES: dict[str, dict[str, Any]] = {
    "original": {},
    "pooled": {"G": {"up": "upsampled"}, "D": {"down": "pooled"}},
    "no_norm": {"G": {"norm": False}, "D": {"norm": False}},
    "no_norm_d": {"D": {"norm": False}},
    "norm_everywhere": {"G": {"norm_last": True}, "D": {"norm_first": True}},
    "hidden": {"G": {"hidden": 256}, "D": {"hidden": 256}},
    "leaky_g": {"G": {"leaky": True}},
    "sigmoid": {"G": {"grey": True}, "grey": True},
    "relu_d": {"D": {"relu": True}},
    "beta1": {"betas": (0.9, 0.999)},
    "rate": {"lr": 1e-3},
    "start": {"G": {"source_start": False}, "D": {"source_start": False}},
}
#: How a side is doubled, for the checkerboards.
BOARDS: dict[str, dict[str, Any]] = {
    "kernel_3": {"G": {"kernel": 3}},
    "kernel_4": {},
    "kernel_5": {"G": {"kernel": 5}},
    "upsampled": {"G": {"up": "upsampled"}},
}
#: The rule on pooling, taken apart. Pixels are enlarged in G, or pooled in D, or both.
POOLING: dict[str, dict[str, Any]] = {
    "original": {},
    "enlarged_g": {"G": {"up": "upsampled"}},
    "pooled_d": {"D": {"down": "pooled"}},
    "pooled": RULES["pooled"],
}


def changed(
    images: Tensor, G: dict[str, Any] | None = None, D: dict[str, Any] | None = None, **further: Any
) -> Recipe:
    """Return the original with networks that differ from those of the source.

    Args:
        images: as for `original`.
        G: options of `generator`.
        D: options of `discriminator`.
        further: options of `original`.
    """
    return original(
        images, G=partial(generator, **(G or {})), D=partial(discriminator, **(D or {})), **further
    )


def _compared(variants: dict[str, dict[str, Any]], seeds: int, seed: int) -> Columns:
    """Train all variants from the same seeds, and return what `judged` says by names like ``kl_pooled``."""
    columns: Columns = {}
    for name, changes in variants.items():
        G = trained(changed(*inputs(seeds), **changes), seeds, seed)
        found = judged(G, seed, grey=changes.get("grey", False))
        columns |= {f"{key}_{name}": values for key, values in found.items()}
    return columns


def rules(seeds: int, seed: int) -> Columns:
    """Train with each of `RULES` broken, from the same seeds, and return what `judged` says of each.

    Args:
        seeds: how many runs of each.
        seed: the base seed.

    Returns:
        Columns by names such as ``frechet_pooled``.
    """
    return _compared(RULES, seeds, seed)


def boards(seeds: int, seed: int) -> Columns:
    """Train with each way of doubling in `BOARDS`, and return how much of a checkerboard is in the fakes.

    Args:
        seeds: how many runs of each.
        seed: the base seed.

    Returns:
        What `judged` says at the end, by names such as ``checker_kernel_3``, and of the first weights, as the
        training meets them, ``first_kernel_3``: normalised over a batch of 2,000.
    """
    early = _untrained(BOARDS, seeds, seed)
    return _compared(BOARDS, seeds, seed) | {f"first_{name}": values for name, values in early.items()}


def _untrained(variants: dict[str, dict[str, Any]], seeds: int, seed: int, images: int = JUDGED) -> Columns:
    """Return the `checker` of what all variants draw at their first weights, by their names."""
    columns: Columns = {}
    for name, changes in variants.items():
        G, _ = changed(*inputs(seeds), **changes).networks(seeds, seed=seed)
        with torch.no_grad():
            columns[name] = checker(G.train()(_page(G, seed)[:, :images]))
    return columns


def first(seeds: int, seed: int) -> Columns:
    """Return how much of a checkerboard generators leave before they are trained.

    Args:
        seeds: how many of each.
        seed: the base seed.

    Returns:
        The `checker` of 256 images, normalised as one batch, by the names of `BOARDS` and by ``no_norm``
        and ``sigmoid`` of `RULES`.
    """
    return _untrained(BOARDS | {name: RULES[name] for name in ("no_norm", "sigmoid")}, seeds, seed, 256)


def pooling(seeds: int, seed: int) -> Columns:
    """Train with each half of the rule on pooling broken, from the same seeds.

    Args:
        seeds: how many runs of each.
        seed: the base seed.

    Returns:
        What `judged` says, by names such as ``frechet_pooled_d``.
    """
    return _compared(POOLING, seeds, seed)


RATE, BETAS = 2e-3, (0.0, 0.999)
#: What the repair changes. R1 and R2 take the place of D's batch normalisation, the losses are those of the
#: relativistic pairing, and Adam's step is ten times as long and has no momentum.
CHANGES = ("penalties", "pairing", "rate", "beta1")


def options(*changes: str) -> dict[str, Any]:
    """Return the options of `original` that make these changes.

    Args:
        changes: some of `CHANGES`.

    Raises:
        ValueError: if one has another name.
    """
    if unknown := set(changes) - set(CHANGES):
        raise ValueError(f"changes must be some of {', '.join(CHANGES)}, not {min(unknown)!r}.")
    made: dict[str, Any] = {"pairing": "pairing" in changes}
    if "penalties" in changes:
        made |= {"gamma": 1.0, "D": partial(discriminator, norm=False)}
    if "rate" in changes:
        made |= {"lr": RATE}
    if "beta1" in changes:
        made |= {"betas": BETAS}
    return made


def repaired(images: Tensor, **further: Any) -> Recipe:
    """Return the repaired recipe: a price on slope, pairs of real and fake, longer steps without momentum.

    Args:
        images: as for `original`.
        further: options of `original` that go before those of the repair.
    """
    return original(images, **(options(*CHANGES) | further))


def apart(seeds: int, seed: int) -> Columns:
    """Take the repair apart: train with none, each, all but each and all of its changes, from the same seeds.

    Args:
        seeds: how many runs of each.
        seed: the base seed.

    Returns:
        What `judged` says, by names such as ``frechet_only_pairing``.
    """
    (images,) = inputs(seeds)

    def made(*names: str) -> Recipe:
        return original(images, **options(*names))

    def measured(recipe: Recipe, seeds: int, seed: int) -> Columns:
        return judged(trained(recipe, seeds, seed), seed)

    return taken_apart(made, CHANGES, measured)(seeds, seed)


def _watched(
    recipe: Recipe, seeds: int, seed: int, at: tuple[int, ...]
) -> tuple[dict[int, Tensor], Ensemble]:
    """Train, and return what is drawn after some steps, and the generators or their average at the end."""
    G, D = recipe.networks(seeds, seed=seed)
    noise = _page(G, seed)
    watch = Watch(lambda G: {"images": drawn(G, noise)}, at[0])
    history = recipe.train(G, D, seed=seed, watch=watch).require_whole()
    images = {step: history.watched["images"][step // at[0]] for step in at}
    return images, G if history.averaged is None else history.averaged


def dense(images: Tensor, **further: Any) -> Recipe:
    """Return the repaired recipe with dense networks that multiply as often.

    Args:
        images: as for `original`.
        further: as for `repaired`.
    """
    return repaired(images, **({"G": dense_generator, "D": dense_discriminator} | further))


def shuffled(seeds: int, seed: int) -> Columns:
    """Train convolutional and dense networks on digits, and on digits whose pixels are in another order.

    Args:
        seeds: how many runs of each.
        seed: the base seed.

    Returns:
        What `judged` says, with the pixels put back, by names such as ``frechet_dense_shuffled``.
    """
    (images,) = inputs(seeds)
    order = order_of_pixels().to(images.device)
    columns: Columns = {}
    for name, make in (("conv", repaired), ("dense", dense)):
        for suffix, data, back in (("", images, None), ("_shuffled", images[:, order], order)):
            found = judged(trained(make(data), seeds, seed), seed, back)
            columns |= {f"{key}_{name}{suffix}": values for key, values in found.items()}
    return columns


def begun(seeds: int, seed: int) -> Columns:
    """Train by the repaired recipe as long as the chapter does, and return what becomes of it.

    Args:
        seeds: how many runs.
        seed: the base seed.

    Returns:
        What `judged` and `walked` say.
    """
    digits = mnist.load()
    G = trained(repaired(*inputs(seeds)), seeds, seed)
    return judged(G, seed) | walked(G, digits.test, seed)


def copies(seeds: int, seed: int) -> Columns:
    """Train as `begun` does, and return what `copied` says at the end.

    Args:
        seeds: how many runs.
        seed: the base seed.
    """
    return copied(trained(repaired(*inputs(seeds)), seeds, seed), mnist.load(), seed)


def copied(G: Ensemble, digits: mnist.Mnist, seed: int) -> Columns:
    """Return the share of 1,000 fakes that are copies, told from the digits that are nearest to them.

    Args:
        G: the generators.
        digits: those they learned from, all of which are looked at, and held-out ones.
        seed: of the noise.

    Returns:
        ``copied``, ``(seeds,)``, as `gan_helpers.recipes.edward_mnist.copied` says.
    """
    noise = NOISE(G.seeds, JUDGED // 2, Stream("copied", seed, next(G.parameters()).device))
    images = drawn(G, noise).float() / 255
    return {"copied": edward_mnist.copied(images, digits.train.images, digits.test.images)}


every_digit = partial(full_digits, 60_000)
LONG: dict[str, Any] = {"ema": 0.999}  # what a long run has further: an average of G's weights


def whole(seeds: int, seed: int, steps: int = WHOLE, at: tuple[int, ...] = AT) -> Columns:
    """Train by the repaired recipe on all of MNIST for long, and return what becomes of it on the way.

    Args:
        seeds: how many runs.
        seed: the base seed.
        steps: how many.
        at: after which of them to measure; all are multiples of the first.

    Returns:
        By names such as ``frechet_500`` what `gan_helpers.recipes.maxout_mnist.measure` says of 2,000 images,
        beside the first 2,000 of the test set; at the end what `walked` says.
    """
    digits, judge = every_digit(), classifier.load()
    watched, G = _watched(repaired(digits.train.images, **LONG, steps=steps), seeds, seed, at)
    columns: Columns = {}
    for step, images in watched.items():
        found = measure(images, digits.test[:JUDGED], judge) | {"checker": checker(images)}
        columns |= {f"{key}_{step}": values for key, values in found.items()}
    return columns | walked(G, digits.test[:JUDGED], seed)


def floor(seeds: int, seed: int) -> Columns:
    """Return what `gan_helpers.recipes.maxout_mnist.measure` says of real digits, as if they were fakes.

    The two halves of MNIST's test set come from different collections, and differ.

    Args:
        seeds: how many draws of 2,000 digits.
        seed: by which they are drawn.

    Returns:
        Of digits of the training set, beside those that judge `whole`, names such as ``frechet``; beside the
        same, of others from the first half of the test set ``frechet_first`` and from the second one
        ``frechet_second``. Of bundled digits to learn from, beside those held out, ``frechet_bundled``.
    """
    every, bundled, judge = every_digit(), mnist.load(), classifier.load()
    known, half = every.test[:JUDGED], len(every.test) // 2
    drawn_from = {
        "": (every.train, known),
        "_first": (every.test[JUDGED:half], known),
        "_second": (every.test[half:], known),
        "_bundled": (bundled.train, bundled.test),
    }
    rng = Stream("floor", seed, known.images.device)
    columns: Columns = {}
    for suffix, (digits, others) in drawn_from.items():
        found = real(digits, others, judge, seeds, rng)
        columns |= {f"{key}{suffix}": values for key, values in found.items()}
    return columns


def real(
    drawn_from: mnist.Digits,
    others: mnist.Digits,
    judge: classifier.DigitClassifier,
    times: int,
    rng: Stream,
) -> Columns:
    """Return what is measured of real images in the place of fakes, each ``(times,)``.

    Args:
        drawn_from: whose images are taken, 2,000 at a time.
        others: the real images that they are compared with.
        judge: who looks at them.
        times: how often.
        rng: decides which.
    """
    found: list[Columns] = []
    for _ in range(times):
        some = rng.permutation(len(drawn_from))[:JUDGED]
        images = drawn_from.images[some].unsqueeze(0).mul(255).round().byte()
        found.append(measure(images, others, judge) | {"checker": checker(images)})
    return {key: torch.cat([one[key] for one in found]) for key in found[0]}


def clothes(seeds: int, seed: int) -> Columns:
    """Train as `begun` does, on Fashion-MNIST, and return what becomes of it.

    Args:
        seeds: how many runs.
        seed: the base seed.

    Returns:
        What `gan_helpers.recipes.maxout_mnist.measure` says, of fakes, and of training images as
        ``frechet_floor``, beside 2,000 held-out images. The judge learned from training images that the
        games do not see; ``"read"`` is the share of held-out images that it reads right.
    """
    some, every = mnist.load(name="fashion"), mnist.load(True, name="fashion")
    judge = classifier.fit(every.train[mnist.TRAINING :], epochs=10)
    G = trained(repaired(some.train.images), seeds, seed)
    images = drawn(G, _page(G, seed))
    columns = measure(images, some.test, judge) | {"checker": checker(images)}
    rng = Stream("floor", seed, some.test.images.device)
    floors = real(some.train, some.test, judge, seeds, rng)
    columns |= {f"{key}_floor": values for key, values in floors.items()}
    return columns | {"read": torch.full((seeds,), classifier.accuracy(judge, some.test))}


TABLES = {
    "rules": Table(rules, 4, ensemble=1),
    "boards": Table(boards, 3, ensemble=1),
    "first": Table(first, 64),
    "pooling": Table(pooling, 3, ensemble=1),
    "apart": Table(apart, 4, ensemble=1),
    "shuffled": Table(shuffled, 8, ensemble=1),
    "begun": Table(begun, 10, ensemble=2),
    "copies": Table(copies, 6, ensemble=2),
    "whole": Table(whole, 8, ensemble=1),  # a run takes a quarter of an hour of a core
    "floor": Table(floor, 20, ensemble=20),
    "clothes": Table(clothes, 4, ensemble=4),
}


def _whole() -> Recipe:
    """Return the recipe of a long run."""
    return repaired(every_digit().train.images, **LONG, steps=WHOLE)


def _shown(G: Ensemble) -> Tensor:
    """Return the first images of those that `whole` judges, in grey levels from 0 to 1."""
    return drawn(G, _page(G, FIRST_SEED)).float()[:, : ACROSS * 7] / 255


#: What the first run of the table ``whole`` had drawn.
ALBUMS = {"repaired": Album(_whole, _shown, {20: ACROSS, WHOLE: 7 * ACROSS})}
