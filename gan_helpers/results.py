"""Tables of what many runs came to: recipes side by side, and the effect of each change with its interval.

What is compared is paired by seed: two runs of one seed begin with the same weights, data and noise. The
effect of a change is the median over the pairs. Its interval and its probability are those of the sign test,
which asks nothing of how the runs are distributed. Of several effects, all are corrected for being several.
A ranking is told with what cannot be told apart in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from scipy import stats
from torch import Tensor

from gan_helpers import _checks
from gan_helpers.tables import Columns

ABSENT = "–"


class Shown(str):
    """A table in Markdown; a notebook shows it as a table."""

    def _repr_markdown_(self) -> str:
        return str(self)

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True)
class Effect:
    """What a change does, over pairs of runs.

    Args:
        median: the median of the differences, or of the ratios.
        low: the lower end of its 95 % interval.
        high: the upper end.
        p: how likely the pairs would lean to one side so far if the change did nothing.
        signs: in how many pairs the measure went up, and in how many down, if p leaves equal pairs out.
    """

    median: float
    low: float
    high: float
    p: float
    signs: tuple[int, int] | None = None


def effect(before: Tensor, after: Tensor, ratio: bool = False, untied: bool = False) -> Effect:
    r"""Return the median of ``after - before`` over pairs, or of ``after / before``, by the sign test.

    With :math:`d_i` the differences, the interval is made of two of the sorted :math:`d_i`, chosen by
    the binomial distribution with probability 1/2, and p is the two-sided chance of as uneven signs.
    Equal pairs count for both sides, so many of them bring p to 1 whichever way the rest leans.

    Args:
        before: one number per seed, ``(seeds,)``.
        after: the same measure of the same seeds with the change, ``(seeds,)``.
        ratio: whether to take ratios; then all numbers have to be positive.
        untied: whether p leaves equal pairs out, and is about the signs of the others alone.

    Raises:
        TypeError: if one is no tensor.
        ValueError: if there are no pairs, a number is not finite, or is not positive where ratios are taken.

    Source:
        Conover (1999), Practical Nonparametric Statistics, sections 3.1 and 3.2.
    """
    before, after = (_checks.tensor(name, x).double() for name, x in (("before", before), ("after", after)))
    if before.shape != after.shape or before.dim() != 1 or not len(before):
        shapes = f"{tuple(before.shape)} and {tuple(after.shape)}"
        raise ValueError(f"before and after must have one number per seed, the same seeds, not {shapes}.")
    for name, x in (("before", before), ("after", after)):
        if not x.isfinite().all():
            raise ValueError(f"{name} must be finite: count the runs that failed, and leave their pairs out.")
        if ratio and not (x > 0).all():
            smallest = x.min().item()
            raise ValueError(f"{name} must be above 0 for ratios, not {smallest:.3g}: take differences.")
    d = after.log() - before.log() if ratio else after - before
    tested = stats.quantile_test(d.numpy(), q=0, p=0.5)
    low, high = (tested.confidence_interval().low, tested.confidence_interval().high)
    ends = torch.tensor([d.quantile(0.5).item(), low, high], dtype=torch.float64)
    median, low, high = (ends.exp() if ratio else ends).tolist()
    if not untied:
        return Effect(median, low, high, float(tested.pvalue))
    up, down = int((d > 0).sum()), int((d < 0).sum())
    p = stats.binomtest(up, up + down).pvalue if up + down else 1.0
    return Effect(median, low, high, float(p), (up, down))


def holm(p: Sequence[float]) -> list[float]:
    r"""Return p-values corrected for being several, by Holm's method.

    .. math:: \tilde p_{(i)} = \max_{j \le i} \min\{1, (m - j + 1) \, p_{(j)}\}

    Args:
        p: m p-values.

    Raises:
        ValueError: if one is not between 0 and 1.

    Source:
        Holm (1979), https://www.jstor.org/stable/4615733.
    """
    if not all(0 <= value <= 1 for value in p):
        raise ValueError(f"p must be between 0 and 1, not {p}.")
    values = torch.as_tensor(p, dtype=torch.float64)
    order = values.argsort()
    steps = values[order] * torch.arange(len(values), 0, -1)
    return steps.cummax(0).values.clamp(max=1)[order.argsort()].tolist()


def results_table(rows: Mapping[str, Columns], columns: Mapping[str, str]) -> Shown:
    """Return a table with a row for each recipe: median and range of each measure, and how many runs.

    Of a single run there is the number alone.

    Args:
        rows: what was measured of the runs of each recipe, by the words that stand before its row. A
            measure is a tensor, ``(runs,)``; of one of truth values it is shown in how many runs it holds.
        columns: the measures, by the words that stand above their columns.

    Raises:
        ValueError: if a measure is in no row.
    """
    for key in columns.values():
        if not any(key in row for row in rows.values()):
            raise ValueError(f"columns must name measures of the rows; none has {key!r}.")
    lines = [
        [label, *(_cell(row.get(key)) for key in columns.values()), str(len(next(iter(row.values()))))]
        for label, row in rows.items()
    ]
    return _table(["", *columns, "runs"], lines)


def effects_table(
    columns: Columns,
    measure: str,
    changes: Mapping[str, str],
    ratio: bool = True,
    untied: bool = False,
    others: Sequence[float] = (),
) -> Shown:
    """Return a table with a row for each change: what it does alone, and what its absence does to the whole.

    Where equal pairs are left out, an effect in too few pairs to move the median is told by their number.

    Args:
        columns: a table made by `gan_helpers.recipes.taken_apart`.
        measure: the measure, such as ``"w1"``.
        changes: the changes in words, by their names.
        ratio: whether effects are ratios, "× 0.5", or differences, "- 0.5".
        untied: whether the sign test leaves equal pairs out, as it has to where many runs reach one floor.
        others: the p-values of what else is asked of these runs, if effects are corrected for them too.

    Raises:
        ValueError: if the table has no such measure or change, or a run of it failed.
    """
    alone, left_out = (
        {name: effect(columns[base], columns[f"{measure}_{way}_{name}"], ratio, untied) for name in changes}
        for base, way in ((f"{measure}_none", "only"), (f"{measure}_all", "without"))
    )
    corrected = iter(holm([*(e.p for e in (*alone.values(), *left_out.values())), *others]))
    said_alone, said_left_out = (
        {name: _said(found, next(corrected), ratio) for name, found in effects.items()}
        for effects in (alone, left_out)
    )
    lines = [
        [
            words,
            _cell(columns[f"{measure}_only_{name}"]),
            said_alone[name],
            _cell(columns[f"{measure}_without_{name}"]),
            said_left_out[name],
        ]
        for name, words in changes.items()
    ]
    ends = [["none of them", _cell(columns[f"{measure}_none"]), "", "", ""]]
    ends += [["all of them", "", "", _cell(columns[f"{measure}_all"]), ""]]
    return _table(["change", "alone", "against none", "all but this", "against all"], [*lines, *ends])


def against_table(rows: Mapping[str, Columns], reference: Columns, measures: Mapping[str, str]) -> Shown:
    """Return a table with a row for each recipe: how far it is from a reference, in each measure.

    What is shown is the median of the differences, paired by seed. All are corrected for being so many.

    Args:
        rows: what was measured of the runs of each recipe, by the words that stand before its row.
        reference: the same measures of the same seeds, of the recipe that all are compared with.
        measures: the measures, by the words that stand above their columns.

    Raises:
        ValueError: if the runs are no pairs, or one of them failed.
    """
    effects = [[effect(reference[key], row[key]) for key in measures.values()] for row in rows.values()]
    corrected = iter(holm([found.p for line in effects for found in line]))
    lines = [
        [label, *(_said(found, next(corrected), ratio=False) for found in line)]
        for label, line in zip(rows, effects, strict=True)
    ]
    return _table(["", *measures], lines)


def wilson(good: Tensor) -> tuple[float, float]:
    r"""Return the 95 % interval of Wilson for the rate of what is true.

    .. math:: \frac{k + z^2/2}{n + z^2} \pm \frac{z}{n + z^2} \sqrt{\frac{k (n - k)}{n} + \frac{z^2}{4}}

    with k of n true and z = 1.96.

    Args:
        good: truth values, ``(runs,)``.

    Raises:
        TypeError: if they are no tensor of truth values.
        ValueError: if there are none.

    Source:
        Wilson (1927). https://doi.org/10.1080/01621459.1927.10502953
    """
    if _checks.tensor("good", good).dtype != torch.bool:
        raise TypeError(f"good must hold truth values, such as w1 < 0.1, not {good.dtype}.")
    if not len(good):
        raise ValueError("good must hold at least one run.")
    ends = stats.binomtest(int(good.sum()), len(good)).proportion_ci(method="wilson")
    return float(ends.low), float(ends.high)


def told_apart(columns: Mapping[str, Tensor]) -> Tensor:
    """Return how likely chance alone would lean so far between each two of several columns.

    It is the sign test over pairs of runs of one seed, corrected by Holm's method for being so many. A
    distance may be infinite: only which of two is less is looked at, and pairs that are equal are left out.

    Args:
        columns: by name, one number per seed, ``(seeds,)``, the same seeds in all.

    Returns:
        A probability for each two, ``(columns, columns)``, 1 on the diagonal.

    Raises:
        ValueError: if the columns differ in length, or hold what is not a number.
    """
    values = list(columns.values())
    if len({len(v) for v in values}) != 1 or any(v.isnan().any() for v in values):
        raise ValueError("columns must hold one number per seed, the same seeds in all.")
    pairs = [(i, j) for i in range(len(values)) for j in range(i)]
    signs = [(int((values[i] < values[j]).sum()), int((values[i] != values[j]).sum())) for i, j in pairs]
    corrected = holm([stats.binomtest(k, n).pvalue if n else 1.0 for k, n in signs])
    found = torch.ones(len(values), len(values), dtype=torch.float64)
    for (i, j), p in zip(pairs, corrected, strict=True):
        found[i, j] = found[j, i] = p
    return found


def ranking_table(columns: Mapping[str, Tensor], unit: float, limit: float, level: float = 0.05) -> Shown:
    """Return a table of what is ranked by its median: how far, how often near, and what is told from what.

    Args:
        columns: distances of the runs, ``(seeds,)``, by the words of their rows.
        unit: what distances are shown in, such as the floor.
        limit: how many units a success is at most away.
        level: below which probability two are told apart.

    Raises:
        ValueError: if the columns differ in length, or hold what is not a number.
    """
    order = sorted(columns, key=lambda name: _middle(columns[name]).item())
    p = told_apart({name: columns[name] for name in order})
    lines = []
    for i, name in enumerate(order):
        distances = columns[name] / unit
        good = distances <= limit
        low, high = (round(100 * end) for end in wilson(good))
        same = [str(j + 1) for j in range(len(order)) if j != i and p[i, j] >= level]
        numbers = [_middle(distances), distances.min(), distances.max()]
        middle, least, most = (_number(value.item()) for value in numbers)
        lines.append(
            [f"{i + 1}. {name}", f"{middle} ({least} to {most})", f"{int(good.sum())} of {len(good)}",
             f"{low} to {high} %", ", ".join(same) or "none"]
        )  # fmt: skip
    return _table(["", "distance in floors", "near", "95 % interval", "not told from"], lines)


def _said(found: Effect, p: float, ratio: bool) -> str:
    """Return an effect in words; one that may be chance says so."""
    sign = "× " if ratio else ""
    numbers = f"{sign}{_number(found.median)} ({_number(found.low)} to {_number(found.high)})"
    if found.signs == (0, 0):
        return "equal in all"
    if found.signs and found.median == float(ratio):  # more than half of the pairs are equal
        up, down = found.signs
        numbers = f"{sign}{_number(found.median)} in the median, up in {up}, down in {down}"
    return f"**{numbers}**" if p < 0.05 else f"{numbers}, may be chance"


def _cell(values: Tensor | None) -> str:
    """Return the median and the range of a measure, its one value, or in how many runs something holds."""
    if values is None:
        return ABSENT
    if values.dtype == torch.bool:
        return f"{int(values.sum())} of {len(values)}"
    values = values.detach().cpu().double()  # counts too, and those of an accelerator
    if len(values) == 1:
        return _number(values.item())  # one run has no range
    ends = values.nanquantile(torch.tensor([0.5, 0.0, 1.0], dtype=values.dtype)).tolist()
    middle, low, high = map(_number, ends)
    return f"{middle} ({low} to {high})"


def _middle(values: Tensor) -> Tensor:
    """Return the median, halfway between two middle values; infinite if one of them is."""
    ordered, n = values.sort().values, len(values)
    return (ordered[(n - 1) // 2] + ordered[n // 2]) / 2


def _number(value: float) -> str:
    """Return a number with three digits, or with four behind the point where that is less: rounded once."""
    return f"{value:.3g}" if abs(value) >= 0.01 else f"{round(value, 4) + 0.0:g}"


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> Shown:
    """Return a table in Markdown."""
    rows = [head, [":--"] + ["--:"] * (len(head) - 1), *lines]
    return Shown("\n".join(f"| {' | '.join(row)} |" for row in rows))
