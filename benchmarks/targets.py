"""What was aimed at, and what was reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import chapters
from benchmarks.results import NotMeasured, Results, Who

Figure = Callable[[Results, int], float]  # of results and a number of threads


def times(value: float) -> str:
    """Write a ratio: as 1/20 if it is small."""
    return f"1/{1 / value:.3g}" if value < 0.55 else f"{value:.2f}"


def percent(value: float) -> str:
    """Write a share."""
    return "below 1 %" if value < 0.01 else f"{100 * value:.0f} %"


def milliseconds(value: float) -> str:
    """Write a short time, given in seconds."""
    return f"{1_000 * value:.0f} ms"


def seconds(value: float) -> str:
    """Write a longer time."""
    return f"{value:.0f} s"


def a_second(value: float) -> str:
    """Write how often something happens."""
    return f"{value:.0f} a second"


def gigabytes(value: float) -> str:
    """Write an amount of memory, given in MB."""
    return f"{value / 1_000:.2f} GB"


@dataclass(frozen=True)
class Target:
    """One aim.

    Args:
        what: what it is about.
        words: what is measured.
        limit: the figure to reach.
        figure: returns the figure that was reached, with so many threads.
        text: writes such a figure.
        at_least: whether more is better.
        threads: the numbers of threads that it is measured with; 0 where that is left to the program.
        jax: the same figure for JAX, where the aim is not about JAX already.
    """

    what: str
    words: str
    limit: float
    figure: Figure
    text: Callable[[float], str] = times
    at_least: bool = False
    threads: tuple[int, ...] = (1, 2)
    jax: Figure | None = None

    @property
    def aim(self) -> str:
        """The aim in words."""
        return f"at {'least' if self.at_least else 'most'} {self.text(self.limit)}"

    def reached(self, results: Results, threads: int) -> float | None:
        """Return the figure that was reached, or None if it was not measured."""
        return _measured(self.figure, results, threads)

    def reached_by_jax(self, results: Results, threads: int) -> float | None:
        """Return the figure that JAX reached, or None if there is none."""
        return None if self.jax is None else _measured(self.jax, results, threads)

    def met(self, value: float) -> bool:
        """Tell whether a figure is as aimed at."""
        return value >= self.limit if self.at_least else value <= self.limit


def _measured(figure: Figure, results: Results, threads: int) -> float | None:
    try:
        return figure(results, threads)
    except NotMeasured:
        return None


def ratio(recipe: str, one: Who, other: Who) -> Figure:
    """Return a function that gives the time of one entrant over another's."""
    return lambda results, threads: results.ratio(recipe, one, other, threads)


def over_source(recipe: str, one: Who, source: Who) -> dict[str, Figure]:
    """Return the time of one entrant over that of a source's loop, and what JAX with as many seeds has."""
    return {"figure": ratio(recipe, one, source), "jax": ratio(recipe, ("jax", one[1]), source)}


def largest_share(recipe: str) -> Figure:
    """Return a function that gives the largest share of the machine's rate that the package reaches."""

    def figure(results: Results, threads: int) -> float:
        ours = [row for row in results.of(recipe) if row.entrant in ("ours", "compiled")]
        shares = [results.share(recipe, (r.entrant, r.seeds), threads) for r in ours if r.threads == threads]
        if not shares:
            raise NotMeasured(recipe)
        return max(shares)

    return figure


def share_of_rate(title: str, recipe: str, limit: float) -> Target:
    """Return the aim to keep a recipe's arithmetic near the rate that the machine has."""
    words = "share of the machine's rate, for the best number of seeds"
    return Target(title, words, limit, largest_share(recipe), percent, at_least=True)


def slowest_beside_others(results: Results, threads: int) -> float:
    """Return the largest ratio of a step beside busy processes to a quiet one; two threads wait passively."""
    how = (threads, "passive" if threads > 1 else "")
    ratios = [row.ratio for row in results.busy if (row.threads, row.waiting) == how]
    if not ratios:
        raise NotMeasured("beside busy processes")
    return max(ratios)


def other(name: str) -> Figure:
    """Return a function that gives a further figure."""

    def figure(results: Results, threads: int) -> float:
        if name not in results.others:
            raise NotMeasured(name)
        return results.others[name]

    return figure


def of_the_book(name: str) -> Figure:
    """Return a function that gives a further figure, if it is of the chapters that there are now."""

    def figure(results: Results, threads: int) -> float:
        from tools import sheets  # for which the environment of JAX lacks a package

        if set(results.others.get("chapters", ())) != {path.stem for path in sheets.notebooks()}:
            raise NotMeasured(name)
        return other(name)(results, threads)

    return figure


def beside_tensorflow(results: Results, threads: int) -> float:
    """Return how many steps the playground takes for one in TensorFlow.js."""
    ours, theirs = (other(f"playground_{name}")(results, threads) for name in ("one", "tfjs"))
    return ours / theirs


#: Those that are about no single chapter; a chapter's own are in its module of `benchmarks.chapters`.
OWN = [
    Target(
        "The recipes beside others", "the slowest step beside a busy process per core, over its time without",
        3.0, slowest_beside_others,
    ),
    Target(
        "The package", "import of gan_helpers, beyond that of torch",
        0.05, other("import_s"), milliseconds, threads=(0,),
    ),
    Target(
        "The book", "all chapters run and compared", 480, of_the_book("chapters_s"), seconds, threads=(0,)
    ),
    Target("The book", "its pages built", 60, of_the_book("pages_s"), seconds, threads=(0,)),
    Target(
        "The book", "most memory of a notebook",
        1_500, of_the_book("chapters_peak_mb"), gigabytes, threads=(0,),
    ),
    Target(
        "The playground", "steps of one GAN, 2-32-32-2 against 2-32-32-1, batch 128, with $R_1$",
        100, other("playground_one"), a_second, at_least=True, threads=(0,),
    ),
    Target(
        "The playground", "steps of each of sixteen such GANs",
        10, other("playground_sixteen"), a_second, at_least=True, threads=(0,),
    ),
    Target(
        "The playground", "pictures that are drawn while sixteen train, once the page has played for 1.5 s",
        59, other("playground_frames"), a_second, at_least=True, threads=(0,),
    ),
    Target(
        "The playground", "steps of one GAN over those in TensorFlow.js, without a GPU",
        1.0, beside_tensorflow, at_least=True, threads=(0,),
    ),
]  # fmt: skip


def targets() -> list[Target]:
    """Return all aims: those of the chapters, and the others."""
    return [aim for name in chapters.names() for aim in chapters.load(name).AIMS] + OWN
