"""The two-dimensional Gaussian in MXNet, as its source writes it: imperative Gluon, one network at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from benchmarks.job import Job, Tick, Weights, read
from gan_helpers import mxnet_backend as gm

nd, gluon = gm.nd, gm.mx.gluon


def loop(job: Job, tick: Tick) -> Weights:
    """Train one pair; ``hybrid`` lets Gluon record the networks and the loss, and replay the records."""
    gm.mx.random.seed(job.seed)
    np.random.seed(job.seed)
    hybrid = job.entrant == "hybrid"
    weights, given = read(job.start)
    precision = "float64" if job.double else "float32"
    G, D = (network(values, precision) for values in (weights["G"], weights["D"]))
    epochs = replayed(job, precision) if job.replay else own_epochs(given["data"][0], job.batch)
    play(G, D, epochs, job, tick, hybrid)
    return {"G": [p.data().asnumpy()[None] for p in G.collect_params().values()]}


def network(weights: list[Any], precision: str) -> Any:
    """Return dense layers with these weights, and a tanh between each two."""
    net = gluon.nn.HybridSequential()
    layers = list(zip(weights[::2], weights[1::2], strict=True))
    for i, (matrix, _) in enumerate(layers):
        _, fan_out, fan_in = matrix.shape
        last = i + 1 == len(layers)
        net.add(gluon.nn.Dense(fan_out, in_units=fan_in, activation=None if last else "tanh"))
    net.cast(precision)
    net.initialize()
    for layer, (matrix, bias) in zip(net, layers, strict=True):
        layer.weight.set_data(nd.array(matrix[0], dtype=precision))
        layer.bias.set_data(nd.array(bias[0], dtype=precision))
    return net


def replayed(job: Job, precision: str) -> Iterable[Any]:
    """Yield the batches of a file, as one epoch."""
    arrays = read(job.replay)[1]
    yield (
        [nd.array(arrays[name][step, 0, 0], dtype=precision) for name in "xz"] for step in range(job.steps)
    )


def own_epochs(points: Any, batch: int) -> Iterable[Any]:
    """Yield epochs without end: pairs of points in a fresh order and of noise."""
    served = gm.mx.io.NDArrayIter(nd.array(points), nd.ones(len(points)), batch_size=batch, shuffle=True)
    while True:
        served.reset()
        yield ((rows.data[0], nd.random.normal(shape=(batch, 2))) for rows in served)


def play(G: Any, D: Any, epochs: Iterable[Any], job: Job, tick: Tick, hybrid: bool) -> None:
    """Train D and G in turns, and keep the score as the source does."""
    entropy = gluon.loss.SoftmaxCrossEntropyLoss()
    if hybrid:
        for block in (G, D, entropy):
            block.hybridize(static_alloc=True, static_shape=True)
    d_adam = gluon.Trainer(D.collect_params(), "adam", {"learning_rate": 0.05})
    g_adam = gluon.Trainer(G.collect_params(), "adam", {"learning_rate": 0.01})
    is_real, is_fake = nd.ones(job.batch), nd.zeros(job.batch)
    score, made = gm.mx.metric.Accuracy(), 0
    tick()
    for epoch in epochs:
        score.reset()
        for x, z in epoch:
            with gm.mx.autograd.record():
                fakes = G(z)
                on_real, on_fake = D(x), D(fakes.detach())
                loss = entropy(on_real, is_real) + entropy(on_fake, is_fake)
            loss.backward()
            d_adam.step(job.batch)
            score.update([is_real, is_fake], [on_real, on_fake])
            with gm.mx.autograd.record():
                loss = entropy(D(fakes), is_real)
            loss.backward()
            g_adam.step(job.batch)
            made += 1
            if made % job.unit == 0:
                nd.waitall()  # it computes in the background
                tick()
            if made == job.steps:
                return
