"""The same products of two large square matrices in JAX, which may use other instructions than torch does."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from benchmarks.arithmetic import PRODUCT_SIZE
from benchmarks.job import Job, Tick, Weights


def loop(job: Job, tick: Tick) -> Weights:
    """Multiply; a step is one product."""
    a, b = jax.random.uniform(jax.random.key(job.seed), (2, PRODUCT_SIZE, PRODUCT_SIZE))
    product = jax.jit(jnp.matmul)
    tick()
    for step in range(1, job.steps + 1):
        jax.block_until_ready(product(a, b))
        if step % job.unit == 0:
            tick()
    return {}
