"""Who takes part. Each module has a function ``loop(job, tick)`` that trains, and returns the last weights.

It calls ``tick()`` before the first step and after every ``job.unit`` steps, when all that they had to
compute is there. The clock is behind that call, so no loop knows whether it is timed or checked.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Entrant:
    """Where a loop is and how it is called in tables.

    Args:
        module: of this package.
        label: what tables call it.
        elsewhere: whether it runs in the environment of JAX.
        environ: what is set in its process before the import.
    """

    module: str
    label: str
    elsewhere: bool = False
    environ: dict[str, str] = field(default_factory=dict)


ENTRANTS = {
    "source": Entrant("torch_loops", "the source's loop, in PyTorch"),
    "tidied": Entrant("torch_loops", "the same, tidied"),
    "mxnet": Entrant("mxnet_loops", "the source's loop, in MXNet"),
    "hybrid": Entrant("mxnet_loops", "the same, hybridised"),
    "keras_torch": Entrant(
        "keras_loop", "the source's loop, in Keras on PyTorch", environ={"KERAS_BACKEND": "torch"}
    ),
    "keras_jax": Entrant(
        "keras_loop", "the source's loop, in Keras on JAX", elsewhere=True, environ={"KERAS_BACKEND": "jax"}
    ),
    "jax": Entrant("jax_scan", "JAX, jit and scan", elsewhere=True),
    "ours": Entrant("ours", "gan_helpers"),
    "compiled": Entrant("ours", "gan_helpers, compiled"),
    "products": Entrant("products", "products of large matrices"),
    "jax_products": Entrant("jax_products", "products of large matrices, in JAX", elsewhere=True),
}

#: Those that multiply matrices, to show what the machine can do.
PRODUCTS = ("products", "jax_products")
