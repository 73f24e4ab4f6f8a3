"""A recipe in JAX: a step as a function, `scan` over steps, `vmap` over seeds, and `jit` of it all.

This is meant to be as fast as JAX is without tricks. Losses are kept, as the package keeps them. The running
statistics of batch normalisation, which only an evaluation would use, are not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import softplus

from benchmarks import chapters
from benchmarks.job import Job, Tick, Weights, read

Array = Any
Player = dict[str, Any]  # "weights", and Adam's "mean" and "square" of their gradients


def loop(job: Job, tick: Tick) -> Weights:
    """Train all seeds at once; one seed alone is not vmapped."""
    jax.config.update("jax_enable_x64", job.double)
    weights, given = read(job.start)
    precision = np.float64 if job.double else np.float32
    game = chapters.load(job.recipe).in_jax()
    data = jnp.asarray(given["data"]) if "data" in given else game.data(job)
    own = data is not None and data.ndim == 3  # a set for each seed, not one for all
    G, D = (started(weights[name], precision) for name in "GD")
    carried = (G, D, jnp.zeros(job.seeds), jax.random.split(jax.random.key(job.seed), job.seeds))
    batches = replayed(job, precision) if job.replay else game.rows(job, data)

    def run(carried: Any, data: Array, batches: Any) -> tuple[Any, Any]:
        def body(carried: Any, batch: Any) -> tuple[Any, Any]:
            G, D, made, key = carried
            key, of_x, of_z, of_masks = jax.random.split(key, 4)
            x, z = batch if job.replay else game.draw(data, batch, of_x, of_z)
            G, D, losses = step(game, job.dropout, G, D, made + 1, x, z, of_masks)
            return (G, D, made + 1, key), losses

        if game.loops:
            return jax.lax.scan(body, carried, batches)
        losses = []
        for i in range(job.unit):
            carried, found = body(carried, jax.tree.map(lambda values, i=i: values[i], batches))
            losses.append(found)
        return carried, losses

    alone = job.seeds == 1
    if alone:
        carried, data = first(carried), data[0] if own else data
    else:
        run = jax.vmap(run, in_axes=(0, 0 if own else None, 0))
    run = jax.jit(run, donate_argnums=0)
    tick()
    for _ in range(job.steps // job.unit):
        batch = next(batches)
        carried, losses = run(carried, data, first(batch) if alone else batch)
        jax.block_until_ready((carried, losses))
        tick()
    return {name: finished(player, alone) for name, player in zip("GD", carried[:2], strict=True)}


def first(tree: Any) -> Any:
    """Return what belongs to the first seed."""
    return jax.tree.map(lambda values: values[0], tree)


# One step of one seed


def step(game: Game, rate: float, G: Player, D: Player, made: Array, x: Array, z: Array, key: Array) -> Any:
    """Return both players after a step, and both losses before it."""
    of_d, of_g = jax.random.split(key)

    def d_loss(weights: Any) -> Array:
        fakes = game.generate(G["weights"], z[0])
        both = jnp.concatenate([game.seen(x), game.seen(fakes)])
        real, fake = jnp.split(game.judge(weights, both, of_d, rate), 2)
        loss = (softplus(-real).mean() + softplus(fake).mean()) * game.d_scale
        if not game.gamma:
            return loss
        slopes = jax.grad(lambda x: game.judge(weights, x).sum())(x)
        return loss + game.gamma / 2 * (slopes**2).sum(1).mean()

    def g_loss(weights: Any, judge: Any) -> Array:
        fakes = game.seen(game.generate(weights, z[-1]))
        return softplus(-game.judge(judge, fakes, of_g, rate)).mean()

    loss_of_d, d_slopes = jax.value_and_grad(d_loss)(D["weights"])
    learned = adam(D, d_slopes, made, game.d_rate, game)
    judge = D if game.simultaneous else learned
    loss_of_g, g_slopes = jax.value_and_grad(g_loss)(G["weights"], judge["weights"])
    return adam(G, g_slopes, made, game.g_rate, game), learned, (loss_of_d, loss_of_g)


def adam(player: Player, slopes: Any, made: Array, rate: float, game: Game) -> Player:
    """Return a player after one update by Adam, with epsilon where torch or where Keras and MXNet have it."""
    b1, b2 = game.beta1, 0.999
    corrected = jnp.sqrt(1 - b2**made)
    epsilon = game.epsilon * (corrected if game.epsilon_inside else 1)

    def moved(w: Array, m: Array, v: Array) -> Array:
        return w - rate * corrected / (1 - b1**made) * m / (jnp.sqrt(v) + epsilon)

    mean = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, player["mean"], slopes)
    square = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, player["square"], slopes)
    return {
        "weights": jax.tree.map(moved, player["weights"], mean, square), "mean": mean, "square": square
    }  # fmt: skip


def started(weights: list[Any], precision: Any) -> Player:
    """Return a player before its first update; matrices are turned to (in, out)."""
    turned = [jnp.asarray(_turned(w), precision) for w in weights]
    return {
        "weights": turned, "mean": [jnp.zeros_like(w) for w in turned],
        "square": [jnp.zeros_like(w) for w in turned],
    }  # fmt: skip


def finished(player: Player, alone: bool) -> list[Any]:
    """Return the weights of a player in the layout of torch."""
    weights = [np.asarray(w)[None] if alone else np.asarray(w) for w in player["weights"]]
    return [_turned(w) for w in weights]


def _turned(w: Any) -> Any:
    return w.swapaxes(1, 2) if w.ndim == 3 else w


# Networks: functions of weights and inputs


def mlp(*activations: Callable[[Array], Array], dropout: bool = False) -> Any:
    """Return a multilayer perceptron, with dropout after each activation but the last if asked for."""

    def apply(weights: list[Array], x: Array, key: Array = None, rate: float = 0.0) -> Array:
        for i, activation in enumerate(activations):
            x = activation(x @ weights[2 * i] + weights[2 * i + 1])
            if dropout and i + 1 < len(activations):
                x = dropped(x, jax.random.fold_in(key, i), rate) if rate else x
        return x

    return apply


def dropped(x: Array, key: Array, rate: float) -> Array:
    """Return x with a share of its numbers at 0 and the others larger by as much."""
    return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0.0)


def same(x: Array) -> Array:
    """Return x."""
    return x


# Rows are chosen outside, for many steps at once: NumPy is quick at that.


def no_rows(job: Job, data: Array) -> Iterator[Any]:
    """Yield what is not looked at, in the shape that rows have."""
    while True:
        yield np.zeros((job.seeds, job.unit, job.batch), np.int32)


def any_rows(job: Job, data: Array) -> Iterator[Any]:
    """Yield rows drawn with replacement, ``(seeds, steps, batch)``."""
    rng = np.random.default_rng(job.seed)
    while True:
        yield rng.integers(0, data.shape[-2], (job.seeds, job.unit, job.batch), np.int32)


def epochs(job: Job, data: Array) -> Iterator[Any]:
    """Yield rows in epochs: each once, in a fresh order, and then again in another."""
    rng, n = np.random.default_rng(job.seed), data.shape[-2]
    queue = np.empty((job.seeds, 0), np.int32)
    while True:
        while queue.shape[1] < job.unit * job.batch:
            order = rng.permuted(np.tile(np.arange(n, dtype=np.int32), (job.seeds, 1)), axis=1)
            queue = np.concatenate([queue, order], axis=1)
        now, queue = np.split(queue, [job.unit * job.batch], axis=1)
        yield now.reshape(job.seeds, job.unit, job.batch)


def in_order(job: Job, data: Array) -> Iterator[Any]:
    """Yield rows in their order, and then from the first again, the same to all seeds."""
    start = 0
    while True:
        rows = np.arange(start, start + job.unit * job.batch, dtype=np.int32) % data.shape[-2]
        start += job.unit * job.batch
        yield np.broadcast_to(rows.reshape(job.unit, job.batch), (job.seeds, job.unit, job.batch))


def replayed(job: Job, precision: Any) -> Iterator[Any]:
    """Yield the batches of a file: x ``(seeds, steps, batch, features)``, z with an axis for draws."""
    x, z = (np.moveaxis(read(job.replay)[1][name].astype(precision), 2, 0) for name in "xz")
    for i in range(0, x.shape[1], job.unit):
        yield x[:, i : i + job.unit, 0], z[:, i : i + job.unit]


# What differs between the recipes


@dataclass(frozen=True)
class Game:
    """A chapter's game.

    Args:
        generate: samples from weights and noise.
        judge: logits from weights, what is judged, a key and the share that dropout leaves out.
        rows: yields the rows of a unit of steps, ``(seeds, steps, batch)``.
        draw: draws a step's x, ``(batch, features)``, and z, with a leading axis for one draw or two.
        data: makes the data set, where no file has it.
        seen: what D gets to see of a batch.
        d_rate: the step size of D.
        g_rate: the step size of G.
        beta1: of both players' Adam.
        epsilon: of both players' Adam.
        epsilon_inside: whether it is added to the corrected root, as in torch.
        simultaneous: whether both gradients are taken at the same weights.
        d_scale: what D's loss is multiplied by.
        gamma: twice the weight of R1 in it.
        loops: whether steps are repeated by `scan`; in its loop XLA's convolutions are many times slower.
    """

    generate: Callable[..., Array]
    judge: Callable[..., Array]
    rows: Callable[[Job, Array], Iterator[Any]]
    draw: Callable[[Array, Array, Array, Array], tuple[Array, Array]]
    data: Callable[[Job], Array] = lambda job: None
    seen: Callable[[Array], Array] = same
    d_rate: float = 1e-3
    g_rate: float = 1e-3
    beta1: float = 0.9
    epsilon: float = 1e-8
    epsilon_inside: bool = True
    simultaneous: bool = False
    d_scale: float = 1.0
    gamma: float = 0.0
    loops: bool = True
