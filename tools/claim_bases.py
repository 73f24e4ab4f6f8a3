"""What each claim that random numbers can reach rests on, and what counts as a success of each recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from tools.claim_reader import Limit


@dataclass(frozen=True)
class Rest:
    """What a claim rests on: a column, or a formula of columns, of a table.

    Args:
        table: its name, or "replay" for the values that the claim is given when its cells are replayed.
        column: the formula; "value" is the replayed one.
        of: how many runs the chapter has.
        scale: on which the runs of a short table are taken to be normal, see `tools/claims.py`.
        limits: what a run has to keep, such as (">", 0.1); as the notebook has it unless given.
        at_least: how many runs have to; as the notebook has it unless given.
        grain: the least spread, for a column of which all runs are equal.
    """

    table: str
    column: str
    of: int = 1
    scale: str = "log"
    limits: tuple[Limit, ...] = ()
    at_least: int | None = None
    grain: float = 0.0


@dataclass(frozen=True)
class Law:
    """Random numbers whose law is known.

    Args:
        why: the law, in a few words.
        p: how likely one run is to miss, at most; perhaps a function of the bound in the notebook.
        of: how many runs there are.
    """

    why: str
    p: float | Callable[[float], float]
    of: int = 1


def replay(scale: str = "log", of: int = 1, limits: tuple[Limit, ...] = (), column: str = "value") -> Rest:
    """Return what a claim rests on whose cells are replayed."""
    return Rest("replay", column, of, scale, limits)


def below(bound: float) -> tuple[Limit, ...]:
    """Return the limit of staying below a bound."""
    return (("<", bound),)


def above(bound: float) -> tuple[Limit, ...]:
    """Return the limit of staying above a bound."""
    return ((">", bound),)


REAL, FAKE, DRAWN = stats.norm(4, 1.25), stats.norm(5, 0.7), 400_000  # the two laws of chapter 4


def share_off(bound: float) -> float:
    """Return how likely the share of real ones is off by so much in one of the chapter's 24 bins."""
    real, fake = (DRAWN * np.diff(law.cdf(np.linspace(1, 7, 25))) for law in (REAL, FAKE))
    n, share = real + fake, real / (real + fake)
    n -= 6 * np.sqrt(n)  # there are hardly ever fewer in a bin
    tails = stats.binom.cdf(n * (share - bound), n.round(), share) + stats.binom.sf(
        n * (share + bound), n.round(), share
    )
    return float((tails + stats.norm.sf(6)).sum())


def value_off(bound: float) -> float:
    """Return how likely the sampled value of the game is off by so much, for the logit x - 4."""
    x, width = np.linspace(-6, 14, 4_001, retstep=True)
    variance = 0.0
    for law, a in ((REAL, 4 - x), (FAKE, x - 4)):
        weights, softplus = law.pdf(x) * width, np.logaddexp(0, a)
        variance += (weights @ softplus**2 - (weights @ softplus) ** 2) / DRAWN
    return float(2 * stats.norm.sf(bound / variance**0.5))


# Why a claim cannot fail, though it stands in a cell with random numbers.
SAME = "two ways to the same numbers"
THEOREM = "a theorem of the chapter"
BUILT = "follows from how the program is built"
FIXED = "tables, or numbers that no seed changes"

# A median of 16, the eighth, is above a number if 9 are, and below it if 8 are.

F, FR = "fifty_lines_original", "fifty_lines_repaired"
X, XR = "mxnet_gaussian_original", "mxnet_gaussian_repaired"
S, SR, START = "sinusoids_original", "sinusoids_repaired", "sinusoids_start"
D, P = "minimax_discriminators", "minimax_gradients"
M, MR, SLOW = "maxout_mnist_original", "maxout_mnist_repaired", "maxout_mnist_slow_d"
E, ER = "edward_original", "edward_repaired"

RESTS: dict[str, dict[str, Rest | Law | tuple[Rest, ...] | str]] = {
    "fifty_lines": {
        "what we wrote is what we import": SAME,
        "after 100 rounds both agree to 1e-5": replay(),
        "at first G makes nearly one number": replay("plain", 16),
        "the gap of twins grows a hundredfold": Rest("fifty_lines_twins", "later / start", 4),
        "the mean climbs above 4.5": Rest("fifty_lines_start", "highest_mean", 16),
        "the mean is within 0.8 of 4": Rest(F, "abs(mean - 4)", 16),
        "the standard deviation is within 0.2 of 1.25": Rest(F, "abs(sd - 1.25)", 16),
        "the block has W1 = 0.193": FIXED,
        "the block has KS = 0.057": FIXED,
        "W1 is above the block's": Rest(F, "w1", 16, limits=above(0.1935)),
        "the skewness is below -0.2": Rest(F, "skewness", 16),
        "19 in 20 end further away than the block": FIXED,
        "sorting a real batch changes the answer": Rest("fifty_lines_order", "change", 16),
        "W1 is below 0.11": Rest(FR, "w1", 16),
        "W1 is below the block's": Rest(FR, "w1", 16, limits=below(0.1925)),
        "KS is below the block's": Rest(FR, "ks", 16),
        "the mean is within 0.04 of 4": Rest(FR, "abs(mean - 4)", 16),
        "the median W1 is at least four times smaller": (
            Rest(F, "w1", 16, limits=above(0.252), at_least=9),
            Rest(FR, "w1", 16, limits=below(0.063), at_least=8),
        ),
        "the kurtosis is between -0.8 and -0.2": Rest(FR, "kurtosis", 16),
        "it is the recipe's input": SAME,
        "yet most end further away than the block": FIXED,
    },
    "mxnet_gaussian": {
        "the points side with A^T A": Law(
            # All entries of one covariance would have to be off by half of what lies between the two.
            "variances of 1,000 normal points are chi-squared",
            3 * stats.chi2.sf(999 * (1 + 1.9 / 4.25), 999),
            16,
        ),
        "the plain fit beats the line": Rest(X, "w2_plain", 16, limits=below(0.3075)),
        "L_D is the sum of both cross-entropies": SAME,
        "L_G is the cross-entropy of the label real": SAME,
        "D starts above chance": Rest(X, "right_first", 1, "arcsine"),
        "and ends lower": Rest(X, "right_first - right_last", 1, "plain", limits=above(0.05)),
        "after 100 steps both agree to 1e-6": SAME,
        "D starts above 0.62": Rest(X, "right_first", 16),
        "D ends within 0.1 of one half": Rest(X, "abs(right_last - 0.5)", 16),
        "the median W2 is above 0.17": Rest(X, "w2", 16, at_least=9),
        "further off than the plain fit": Rest(X, "w2 - w2_plain", 16, limits=above(0.0)),
        "at the median, at least a quarter further": (
            Rest(X, "w2", 16, limits=above(0.1755), at_least=9),
            Rest(X, "w2_plain", 16, limits=below(0.1404), at_least=8),
        ),
        "by hand and by autograd alike": SAME,
        "what we wrote is what we import": SAME,
        "ten times the weights, a thousand times the slope": SAME,
        "it adds less than 0.1": Rest(XR, "w2_sample", 16),
        "as wide as the points, to 7 %": Rest(XR, "abs(minor / minor_plain - 1)", 16),
        "closer than the line": Rest(XR, "w2", 16, limits=below(0.3075)),
        "W2 below 2.5 times the plain one": Rest(XR, "w2 / w2_plain", 16),
        "original: the median is above 0.54": Rest(X, "ideal", 16, at_least=9),
        "repaired: the median is below 0.53": Rest(XR, "ideal", 16, at_least=8),
        "one output: the learning rate": BUILT,
        "two outputs: twice as much": BUILT,
    },
    "sinusoids": {
        "c lies between 1 and pi": BUILT,
        "and fills that interval": Law("100,000 uniform numbers", 2 * (1 - 0.01 / 2.15) ** 100_000),
        "newer generators refuse the call": BUILT,
        "on real curves the refined residual is 0": replay(),
        "on the grid it is below 0.1": replay(),
        "refining never makes the fit worse": replay("plain"),
        "noise leaves more than 0.6 too": replay(),
        "training moves D": BUILT,
        "training the stack leaves a frozen D as it is": BUILT,
        "and moves G": BUILT,
        "the loss 'mse' of G was never descended": BUILT,
        "the two dropouts are one object": BUILT,
        "that turns both dropouts off": BUILT,
        "in 20 steps the curves move by more than 0.1": replay(),
        "Keras and we agree to 1e-10": replay(),
        "Keras: the loss stops at 16.1": FIXED,
        "Keras: and the slope is 0": FIXED,
        "in epoch 3, D is right more than 95 times of 100": Rest(START, "d_right", 2, "arcsine"),
        "and the loss of G is above 7": Rest(START, "g_loss", 2),
        "20 epochs after the win, the residual is below 0.2": Rest(
            S, "residual[lost < 60]", 2, limits=below(0.2)
        ),
        "the frequencies are off: KS above 0.12": Rest(S, "b_ks", 2),
        "the residual is below 0.12": Rest(SR, "residual", 4),
        "KS is below 0.16": Rest(SR, "b_ks", 4),
        "and below 0.1 for the phase": Rest(SR, "c_ks", 4),
        "a slow half and a fast half": Rest(SR, "slow - 0.5", 4, "plain", (("<", 0.15), (">", -0.15))),
        "KS is at most half of the original's": (
            Rest(S, "b_ks", 2, limits=above(0.2), at_least=1),
            Rest(SR, "b_ks", 4, limits=below(0.1), at_least=2),
        ),
        "{name}: fakes are over twice as far away as real curves are": (
            Rest(S, "nearest / nearest_real", 2),
            Rest(SR, "nearest / nearest_real", 4),
        ),
        "{name}: no better on the noise of the training": (
            Rest(S, "seen / residual", 2),
            Rest(SR, "seen / residual", 4),
        ),
    },
    "minimax": {
        "the counted share is that of the densities": Law("counts in 24 bins are binomial", share_off),
        "minus the loss of D is the value": Law("means of 400,000 are normal", value_off),
        "all of 200 bent discriminators earn less": THEOREM,
        "on average the answers are off by less than 0.01": Rest(D, "mean_gap", 16),
        "from 1 to 7 they are off by less than 0.1": Rest(D, "largest_gap", 16),
        "from 3 to 7 the logits are off by less than 0.4": Rest(D, "logit_gap", 16),
        "where samples are rare they are worse than on the slope": Rest(
            D, "rare_gap / steep_gap", 16, limits=above(2)
        ),
        "in the table: no miss of the three among 320": FIXED,
        "nor of the two that follow below": FIXED,
        "every trained D stays below the divergence": THEOREM,
        "and comes within 0.0005 nats of it": Rest(D, "value_gap / 2", 16),
        "no trained D is right more often": THEOREM,
        "and they are right almost as often": Rest(D, "accuracy_gap", 16),
        "real against fake: less than once in 100,000": replay(of=16),
        "real against real: more often than that": Law("guesses are binomial", 1e-5, 16),
        "against a copy, the accuracies add up to one": THEOREM,
        "but a shifted D has one above 0.8": replay(of=16, limits=above(0.5)),
        "a copy: nothing pulls": FIXED,
        "far away: -log D pulls the mean 1,600 times as hard": FIXED,
        "and log(1 - D) pulls the width more than three times the mean": FIXED,
        "with a width of 3, its pull on the mean is fifty times stronger": FIXED,
        "-log D is home in 70 steps": FIXED,
        "log(1 - D) takes five times as many": FIXED,
        "by then, the fakes had been more than twice as wide as the data": FIXED,
        "and they were wide before the mean was half-way": FIXED,
        "from -3, with a width of 0.25, 600 steps move the mean by 0.01": FIXED,
        "the two pulls on the mean share (4 - mean)/1.25^2": FIXED,
        "the saturating pull fades more than 80-fold": Rest(P, "saturating_10 / saturating_2000", 16),
        "the non-saturating pull grows more than 4-fold": Rest(
            P, "non_saturating_2000 / non_saturating_10", 16
        ),
        "at the end they differ more than 6,000-fold": Rest(P, "non_saturating_2000 / saturating_2000", 16),
        "the {name} step is the gradient of {of}": THEOREM,
        "bumps at 2 and -2: likelihood and JSD cover both": FIXED,
        "the other two pick one": FIXED,
        "bumps at 3 and -3: likelihood covers both": FIXED,
        "and now JSD picks one as well": FIXED,
        "against the copy, no trained D earns more": THEOREM,
        "against a fixed D, one point beats the copy": replay("plain", 16, below(0.0)),
        "and no fixed D can hold G above -log 4": replay("plain", 16, below(-1.3863)),
        "{name}: the forces are the gradients": SAME,
        "minimax: never a step nearer": FIXED,
        "nor with steps of 0.01": FIXED,
        "15 penalties: home 5 % below the bound, away 5 % above it": FIXED,
        "with R1 the path is home to within a millionth": FIXED,
        "and shrinks at the rate of its eigenvalues": FIXED,
        "four step sizes: the radius is sqrt(2h) to within a tenth": FIXED,
        "200 pairs: JSD is below log 2 times TV": THEOREM,
        "20,000 turns: neither away nor home": FIXED,
        "the average of theta is home to 0.01": FIXED,
    },
    "maxout_mnist": {
        "with the source's gains it is below 0.03": replay(),
        "with gains at one it is above 0.1": replay(),
        "at the end D is right on over 0.55 of the real": Rest(M, "right_real_30", 1, "arcsine"),
        "and on over 0.55 of the fakes": Rest(M, "right_fake_30", 1, "arcsine"),
        "real against real, Fréchet is below 0.6": FIXED,
        "and coverage above 0.93": FIXED,
        "and the digit KL below 0.02": FIXED,
        "after epoch 1 the digit KL is above 1": Rest(M, "kl_1", 1, "plain", grain=0.005),
        "coverage is below 0.05 then": Rest(M, "coverage_1", 1, "arcsine"),
        "and after epoch 3": Rest(M, "coverage_3", 1, "arcsine"),
        "thirty epochs cover more": Rest(
            M, "(coverage_30 + 0.0005) / (coverage_3 + 0.0005)", 1, limits=above(1)
        ),
        "Fréchet ends over 5 times the floor": Rest(M, "frechet_30 / 0.308", 1),
        "D's loss is within 0.1 of log 4": Rest(
            SLOW, "d_loss_3 - 1.38629", 1, "plain", (("<", 0.1), (">", -0.1))
        ),
        "D is right half of the time, to 0.2": Rest(
            SLOW, "(right_real_3 + right_fake_3) / 2", 1, "arcsine", (("<", 0.7), (">", 0.3))
        ),
        "the digit KL is above 1": Rest(SLOW, "kl_3", 1, "plain", grain=0.005),
        "coverage is below 0.05": Rest(SLOW, "coverage_3", 1, "arcsine"),
        "Fréchet is less than half of the original's": (
            Rest(M, "frechet_10", 1, limits=above(28)),
            Rest(MR, "frechet_10", 1, limits=below(14)),
        ),
        "the digit KL is below 1": Rest(MR, "kl_10", 1),
        "coverage is above 0.1": Rest(MR, "coverage_10", 1, "arcsine"),
        "and still below 0.8": Rest(MR, "coverage_10", 1, "arcsine"),
        "two pieces are enough": BUILT,
        "the digit KL is near -log p(1)": FIXED,
        "coverage is near the share of ones": FIXED,
        "and density does not complain": FIXED,
        "Fréchet is far above the floor": FIXED,
    },
    "edward_mnist": {
        "a binarised image has no grey pixel": BUILT,
        "on average the draws are the grey image": replay(),
        "a classifier's logit is the log density ratio": replay(),
        "around iteration 1,000 D's loss is below 0.2": Rest("edward_early", "d_loss", 1),
        # The chapter has the mean of 1,000 steps, which varies less than the single steps of the table.
        "at the end its loss is between 0.2 and 1.5": Rest(E, "d_loss_15000", 1),
        "and G's is above 1.5: D is still ahead": Rest(E, "g_loss_15000", 1),
        "the rule calls no real image fake": BUILT,
        "and nearly all fakes": BUILT,
        "at least one fake pixel in a hundred is grey": Rest(E, "grey_share_15000", 1, "arcsine"),
        "less than the grey digits themselves": FIXED,
        "D still finds most of the tossed fakes": Rest(E, "right_sampled_15000", 1, "arcsine"),
        "every calm game ends closer than every other": FIXED,
        "and less than half as far as the median original": FIXED,
        "tossing alone makes it worse, in the median": FIXED,
        "tossing brings the calm game no closer": FIXED,
        "the linear test even likes the shortcut better": FIXED,
        "{name}: tossing costs D from {low} to {high}": FIXED,
        "D's loss ends above 0.8: it is less sure": Rest(ER, "d_loss_5000", 1),
        "and it still finds most fakes": Rest(ER, "right_sampled_5000", 1, "arcsine"),
        "in the table, more grey than the digits": FIXED,
        "and here": Rest(ER, "grey_share_5000", 1, "arcsine", above(0.1034)),
        "the floor of the distance is below 1": replay(),
        "the repaired one is below 12": Rest(ER, "frechet_5000", 1),
        "real digits pass the test": replay("arcsine", limits=(("<", 0.58), (">", 0.42))),
        "the original's fakes do not": Rest(E, "two_sample_15000", 1, "arcsine"),
        "the repaired one's are told too": Rest(ER, "two_sample_5000", 1, "arcsine"),
        "in the tables, less often than any original's": FIXED,
        "no copying": (
            Rest(E, "copying_15000", 1, "arcsine", (("<", 0.6), (">", 0.4))),
            Rest(ER, "copying_5000", 1, "arcsine", (("<", 0.6), (">", 0.4))),
        ),
        "it is the divergence KL(data, model)": replay(),
        "the rule finds no rounded fake": BUILT,
        "two tosses of the same fakes differ": BUILT,
    },
}

#: The cells that lead up to the claims that are replayed, or a line of code in the place of a long training.
REPLAYS = {
    "fifty_lines": (
        "cell-01", "cell-03", "cell-09", "cell-11", "cell-13", "cell-15", "cell-17", "cell-19",
    ),
    "sinusoids": (
        "sin-01", "sin-03", "sin-05", "sin-08", "sin-10", "sin-12", "sin-14", "sin-17", "sin-25", "sin-27",
        "sin-29", "sin-31", "sin-33", "sin-34", "sin-35",
    ),
    "minimax": (
        "cell-001", "cell-003", "cell-009", "cell-011", "cell-019", "cell-021", "cell-023", "cell-044",
        "cell-046", "cell-048", "LOG4 = log(4)", "cell-083",
    ),
    "maxout_mnist": ("c001", "c003", "c010", "c011", "c012", "c014"),
    "edward_mnist": (
        "code-01", "code-03", "code-04", "code-05", "code-07", "code-08", "code-10", "code-12", "code-13",
        "code-25", "grey2, sampled2 = grey, sampled", "table = ledger('edward_original')",
        "told = {'repaired': ledger('edward_repaired')['two_sample_5000']}", "code-46",
        "claim('the floor of the distance is below 1', True, values=distance[2])",
        "claim('real digits pass the test', True, values=accuracy[2])", "code-53",
    ),
}  # fmt: skip

SINE = "residual and KS of the frequencies below 0.1"

#: The recipes: their names, tables, and what counts as a success, in words and as a formula.
RATES = (
    ("50 lines, original", F, "$W_1$ below that of a matched block, 0.193", "w1 < 0.193"),
    ("50 lines, the source's later version", "fifty_lines_later", "the same", "w1 < 0.193"),
    ("50 lines, repaired", FR, "the same", "w1 < 0.193"),
    ("MXNet Gaussian, original", X, "$W_2$ below that of a line without width, 0.308", "w2 < 0.308"),
    ("MXNet Gaussian, repaired", XR, "the same", "w2 < 0.308"),
    ("Sinusoids, original", S, SINE, "(residual < 0.1) & (b_ks < 0.1)"),
    ("Sinusoids, without momentum", "sinusoids_no_momentum", "the same", "(residual < 0.1) & (b_ks < 0.1)"),
    ("Sinusoids, $R_1$ for dropout", "sinusoids_r1", "the same", "(residual < 0.1) & (b_ks < 0.1)"),
    ("Sinusoids, repaired", SR, "the same", "(residual < 0.1) & (b_ks < 0.1)"),
    (
        "Minimax game, trained D", D, "answers off by less than 0.01 on average, and by 0.1 from 1 to 7",
        "(mean_gap < 0.01) & (largest_gap < 0.1)",
    ),
    ("Maxout, original, 30 epochs", M, "all ten digits, each at least 1 % of the fakes", "digits_30 == 10"),
    ("Maxout, original, 10 epochs", M, "the same", "digits_10 == 10"),
    ("Maxout, repaired, 10 epochs", MR, "the same", "digits_10 == 10"),
    ("Edward, original, 15,000 iterations", E, "Fréchet distance below 10", "frechet_15000 < 10"),
    ("Edward, original, 5,000 iterations", E, "the same", "frechet_5000 < 10"),
    ("Edward, tosses alone, 5,000", "edward_sampled", "the same", "frechet_5000 < 10"),
    ("Edward, calm game alone, 5,000", "edward_penalised", "the same", "frechet_5000 < 10"),
    ("Edward, repaired, 5,000", ER, "the same", "frechet_5000 < 10"),
)  # fmt: skip
