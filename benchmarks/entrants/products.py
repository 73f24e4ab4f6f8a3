"""The machine's rate: products of two large square matrices in single precision, as torch makes them."""

from __future__ import annotations

import torch

from benchmarks.arithmetic import PRODUCT_SIZE
from benchmarks.entrants.torch_settings import torch_settings
from benchmarks.job import Job, Tick, Weights


def loop(job: Job, tick: Tick) -> Weights:
    """Multiply; a step is one product."""
    a, b = torch.rand(2, PRODUCT_SIZE, PRODUCT_SIZE)
    out = torch.empty_like(a)
    with torch_settings(job.threads):
        tick()
        for step in range(1, job.steps + 1):
            torch.mm(a, b, out=out)
            if step % job.unit == 0:
                tick()
    return {}
