"""An independent, plainly written GAN on ordinary torch modules, which the tests compare the package with.

One network at a time, `backward`, `zero_grad` and losses from `torch.nn.functional`: nothing here comes
from the package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PlainLoss = Callable[[nn.Module, nn.Module, Tensor, Tensor], Tensor]


@dataclass
class Replay:
    """A sampler that hands out recorded batches, one a call; ``values`` is (calls, seeds, batch, ...)."""

    values: Tensor
    calls: int = field(default=0, init=False)

    def __call__(self, seeds: int, batch: int, rng: object) -> Tensor:
        value = self.values[self.calls]
        assert value.shape[:2] == (seeds, batch)
        self.calls += 1
        return value

    def of(self, k: int) -> Iterator[Tensor]:
        """Return the same batches as one member sees them."""
        return iter(self.values[:, k])


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return the same normally distributed numbers at every call."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def plain_networks(make: Callable[[], nn.Module], count: int, seed: int = 0) -> list[nn.Module]:
    """Return ordinary networks in double precision with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return [make().double() for _ in range(count)]


def plain_adam(network: nn.Module) -> torch.optim.Adam:
    return torch.optim.Adam(network.parameters(), lr=5e-3, betas=(0.5, 0.9))


def backward(network: nn.Module, loss: Tensor) -> None:
    network.zero_grad()
    loss.backward(inputs=list(network.parameters()))


def play(
    G: nn.Module, D: nn.Module, data: Iterator[Tensor], noise: Iterator[Tensor], d_loss: PlainLoss,
    g_loss: PlainLoss, *, steps: int, d_steps: int = 1, g_steps: int = 1, reuse_noise: bool = False,
    simultaneous: bool = False, after_step: Callable[[], None] = lambda: None,
) -> list[tuple[float, float]]:  # fmt: skip
    """Train one pair, D before G or both at once. Return the losses of D and G at each step."""
    d_opt, g_opt = plain_adam(D), plain_adam(G)
    history = []
    for _ in range(steps):
        for _ in range(d_steps):
            x, z = next(data), next(noise)
            d_value = d_loss(G, D, x, z)
            if not simultaneous:
                backward(D, d_value)
                d_opt.step()
        for _ in range(g_steps):
            if not (reuse_noise or simultaneous):
                z = next(noise)
            g_value = g_loss(G, D, x, z)
            backward(G, g_value)
            if simultaneous:
                backward(D, d_value)
                d_opt.step()
            g_opt.step()
        after_step()
        history.append((d_value.item(), g_value.item()))
    return history


def cross_entropy(logits: Tensor, label: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def classify(real: Tensor, fake: Tensor) -> Tensor:
    return cross_entropy(real, 1) + cross_entropy(fake, 0)


# For each game: D's loss from the outputs for real and fake samples, then G's.
PLAIN_LOSSES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "minimax": (classify, lambda real, fake: -cross_entropy(fake, 0)),
    "non-saturating": (classify, lambda real, fake: cross_entropy(fake, 1)),
    "least squares": (
        lambda real, fake: (F.mse_loss(real, torch.ones_like(real)) + F.mse_loss(fake, 0 * fake)) / 2,
        lambda real, fake: F.mse_loss(fake, torch.ones_like(fake)) / 2,
    ),
    "wasserstein": (lambda real, fake: fake.mean() - real.mean(), lambda real, fake: -fake.mean()),
    "hinge": (
        lambda real, fake: torch.clamp(1 - real, min=0).mean() + torch.clamp(1 + fake, min=0).mean(),
        lambda real, fake: -torch.mean(fake),
    ),
    "relativistic": (
        lambda real, fake: cross_entropy(real - fake, 1),
        lambda real, fake: cross_entropy(fake - real, 1),
    ),
}


def squared_slope_of_each(D: nn.Module, x: Tensor) -> Tensor:
    """Return the squared gradient norm of D at each row of x, in a graph of its own."""
    x = x.clone().detach().requires_grad_(True)
    (slopes,) = torch.autograd.grad(D(x), x, torch.ones(len(x), 1, dtype=x.dtype), create_graph=True)
    return (slopes**2).sum(dim=1)
