"""One network each in MXNet, as its source writes it: imperative Gluon."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import chapters
from benchmarks.job import Job, Tick, Weights, read
from gan_helpers import mxnet_backend as gm

nd, gluon = gm.nd, gm.mx.gluon


@dataclass(frozen=True)
class Program:
    """What a source's program has.

    Args:
        G: one generator.
        batches: yields batches of data and of noise, without end.
        step: trains both players on these.
        hybrid: the blocks that Gluon may record.
    """

    G: Any
    batches: Iterator[tuple[Any, Any]]
    step: Callable[[Any, Any], None]
    hybrid: tuple[Any, ...]


def loop(job: Job, tick: Tick) -> Weights:
    """Train one pair; ``hybrid`` lets Gluon record the networks and the loss, and replay the records."""
    gm.mx.random.seed(job.seed)
    np.random.seed(job.seed)
    weights, given = read(job.start)
    program = chapters.load(job.recipe).in_mxnet(job, weights, given.get("data"))
    if job.entrant == "hybrid":
        for block in program.hybrid:
            block.hybridize(static_alloc=True, static_shape=True)
    batches = replayed(job) if job.replay else program.batches
    tick()
    for made in range(1, job.steps + 1):
        program.step(*next(batches))
        if made % job.unit == 0:
            nd.waitall()  # it computes in the background
            tick()
    return {"G": [p.data().asnumpy()[None] for p in program.G.collect_params().values()]}


def precision(job: Job) -> str:
    """Return what numbers a job computes with."""
    return "float64" if job.double else "float32"


def dense(weights: list[Any], job: Job, activation: str) -> Any:
    """Return dense layers with these weights, and an activation between each two."""
    net = gluon.nn.HybridSequential()
    layers = list(zip(weights[::2], weights[1::2], strict=True))
    for i, (matrix, _) in enumerate(layers):
        _, fan_out, fan_in = matrix.shape
        last = i + 1 == len(layers)
        net.add(gluon.nn.Dense(fan_out, in_units=fan_in, activation=None if last else activation))
    net.cast(precision(job))
    net.initialize()
    for layer, (matrix, bias) in zip(net, layers, strict=True):
        layer.weight.set_data(nd.array(matrix[0], dtype=precision(job)))
        layer.bias.set_data(nd.array(bias[0], dtype=precision(job)))
    return net


def replayed(job: Job) -> Iterator[tuple[Any, Any]]:
    """Yield the batches of a file."""
    arrays = read(job.replay)[1]
    for step in range(job.steps):
        yield tuple(nd.array(arrays[name][step, 0, 0], dtype=precision(job)) for name in "xz")
