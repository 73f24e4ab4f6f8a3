"""The arithmetic of a step: what its matrix products cost, in floating-point operations (FLOP).

A product of (n, i) and (i, o) costs 2 n i o. Only what backpropagation needs is counted, and once: a loop
that makes the same fakes twice does not work more. All that is not a product is left out, and so is waiting;
the share of the machine's rate that a loop reaches tells of both.
"""

from __future__ import annotations

from dataclasses import dataclass

#: The rows of the square matrices whose product shows what the machine can do, and what one costs.
PRODUCT_SIZE = 2_048
PRODUCT_FLOP = 2 * PRODUCT_SIZE**3

Maps = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Arithmetic:
    """One recipe's sizes.

    Args:
        G: the linear maps of the generator, (in, out).
        D: those of the discriminator.
        fakes: rows that go through G at a time.
        judged: rows that go through D for them; one where D sees a whole batch as one input.
        fresh_fakes: whether G learns from other fakes than D does.
        judged_anew: whether the loss of G takes a pass through D of its own: where D has moved in between, or
            draws dropout anew.
        trains_inputs: whether something before G's first map is trained, and needs its gradient.
    """

    G: Maps
    D: Maps
    fakes: int
    judged: int
    fresh_fakes: bool = False
    judged_anew: bool = True
    trains_inputs: bool = False

    @property
    def flop(self) -> int:
        """The operations of one step of one GAN."""
        G, D = (sum(i * o for i, o in maps) for maps in (self.G, self.D))
        behind_G, behind_D = G - self.G[0][0] * self.G[0][1], D - self.D[0][0] * self.D[0][1]
        both = 2 * self.judged  # real and fake
        products = (
            self.fakes * G * (2 if self.fresh_fakes else 1)  # forward
            + both * (D + D + behind_D)  # the step of D: forward, slopes of weights, slopes of inputs
            + self.judged * D * (2 if self.judged_anew else 1)  # through D to the fakes
            + self.fakes * (G + (G if self.trains_inputs else behind_G))  # the step of G
        )
        return 2 * products
