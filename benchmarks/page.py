"""Makes the tables and the figure of the page 'Speed' from what is stored, and the text that is printed."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable
from pathlib import Path
from statistics import median

from matplotlib import pyplot as plt
from matplotlib import style

from benchmarks import chapters as measured
from benchmarks.entrants import ENTRANTS, PRODUCTS
from benchmarks.environment import ROOT
from benchmarks.results import Busy, NotMeasured, Results, Row, Who
from benchmarks.targets import Target, percent
from benchmarks.targets import targets as all_targets

BOOK = ROOT / "book"
FIGURE = Path("_static") / "speed.png"
PAGE = "speed.md"
#: Between these lines, which no reader sees, the page's text is made and not written.
MARKS = ("% made by make bench", "% end of what is made")
MISSING = "not measured"
Table = list[list[str]]


def tables(results: Results) -> dict[str, Table]:
    """Return the tables of the page by the names of their files; the first line of each has the headings."""
    return {
        "speed_targets": targets(results),
        **{f"speed_{recipe}": entrants(results, recipe) for recipe in measured.names()},
        "speed_busy": busy(results),
        "speed_steps": steps(results),
        "speed_checks": checks(results),
        "speed_chapters": chapters(results),
        "speed_machine": [["What", "Which"], *([name, value] for name, value in results.machine.items())],
    }


def draw(results: Results, folder: Path = BOOK) -> None:
    """Write the tables and the figure."""
    for name, table in tables(results).items():
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(table)
    (folder / FIGURE).parent.mkdir(exist_ok=True)
    figure(results, folder / FIGURE)
    page = folder / PAGE
    page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")


def with_tables(text: str) -> str:
    """Return the page's text with a table for each chapter that is measured, between its two marks."""
    before, after = text.split(MARKS[0])[0], text.split(MARKS[1])[1]
    blocks = []
    for name in measured.names():
        benchmark = measured.benchmark(name)
        label = f"tab-speed-{name.replace('_', '-')}"
        title = " ".join(filter(None, (f"{benchmark.title}.", benchmark.note)))
        blocks.append(
            f":::{{csv-table}} {title}\n:file: speed_{name}.csv\n:header-rows: 1\n:name: {label}\n:::\n"
        )
    return "\n".join([f"{before}{MARKS[0]}\n", *blocks, f"{MARKS[1]}{after}"])


def printed(table: Table) -> str:
    """Return a table as text, in columns."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in table)


# Words


def duration(seconds: float) -> str:
    """Write a time with three digits, in the unit that suits it."""
    if seconds >= 600:
        return f"{seconds / 60:.3g} min"
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{float(f'{seconds / size:.3g}'):g} {unit}"
    return f"{float(f'{seconds * 1e6:.3g}'):g} µs"


def operations(flop: float) -> str:
    """Write a number of operations with three digits."""
    for unit, size in (("GFLOP", 1e9), ("MFLOP", 1e6)):
        if flop >= size:
            return f"{flop / size:.3g} {unit}"
    return f"{flop / 1e3:.3g} kFLOP"


def told(words: Callable[[], str]) -> str:
    """Return words about a figure, or that it was not measured."""
    try:
        return words()
    except NotMeasured:
        return MISSING


# Tables

HEADINGS = (
    "Who", "Seeds", "Time a GAN, one thread", "Time a GAN, two threads", "Share of the rate, one thread",
    "Share of the rate, two threads", "Start-up", "Whole run", "Memory",
)  # fmt: skip


def targets(results: Results) -> Table:
    """Return what was aimed at and what was reached."""
    table = [["Where", "What", "Aim", "One thread", "Two threads", "Reached", "JAX, two threads"]]
    for target in all_targets():
        found = [target.reached(results, threads) for threads in target.threads]
        written = [MISSING if value is None else target.text(value) for value in found]
        written += [""] * (2 - len(written))  # where it is not a matter of threads
        jax = target.reached_by_jax(results, 2)
        written += [_verdict(target, found), "" if jax is None else target.text(jax)]
        table.append([target.what, target.words, target.aim, *written])
    return table


def _verdict(target: Target, found: list[float | None]) -> str:
    met = [target.met(value) for value in found if value is not None]
    if len(met) < len(found):
        return MISSING
    if any(met) and not all(met):
        return "with one thread" if met[0] else "with two threads"
    return "yes" if all(met) else "no"


def overview(results: Results, recipes: list[str]) -> Table:
    """Return the one table that is printed: what was measured of all these recipes."""
    table = [["Recipe", *HEADINGS]]
    for recipe in recipes:
        table += [[measured.benchmark(recipe).title, *line] for line in entrants(results, recipe)[1:]]
    return table


def aims(results: Results) -> str:
    """Return what was aimed at and what was reached, a line for each."""
    lines = []
    for what, words, aim, one, two, verdict, _ in targets(results)[1:]:
        found = f"{one} with one thread, {two} with two" if two else one
        lines.append(f"{verdict}: {what}, {words}: {aim}; {found}.")
    return "\n".join(lines)


def entrants(results: Results, recipe: str) -> Table:
    """Return what was measured of a recipe: a line for each entrant and number of seeds."""
    plan = measured.benchmark(recipe)
    table = [[HEADINGS[0], HEADINGS[1], *(f"{h} ({plan.step})" for h in HEADINGS[2:4]), *HEADINGS[4:]]]
    rows = [row for row in results.of(recipe) if row.entrant not in PRODUCTS]
    for who in dict.fromkeys((row.entrant, row.seeds) for row in rows):
        table.append(
            [ENTRANTS[who[0]].label, str(who[1])]
            + [
                _of(results, recipe, who, n, lambda row: duration(row.seconds * plan.steps_in_it))
                for n in (1, 2)
            ]
            + [told(lambda n=n, who=who: percent(results.share(recipe, who, n))) for n in (1, 2)]
            + [_of(results, recipe, who, 1, words) for words in with_one_thread(results, recipe)]
        )
    return table


def _of(results: Results, recipe: str, who: Who, threads: int, words: Callable[[Row], str]) -> str:
    return told(lambda: words(results.row(recipe, who, threads)))


def with_one_thread(results: Results, recipe: str) -> tuple[Callable[[Row], str], ...]:
    """Return what writes the last three columns: the start-up, all steps of all seeds with it, and memory."""
    steps = results.recipes.get(recipe, {}).get("steps", 0)
    return (
        lambda row: duration(row.start_up),
        lambda row: duration(row.start_up + steps * row.seconds * row.seeds),
        lambda row: f"{row.peak_mb:.0f} MB",
    )


def steps(results: Results) -> Table:
    """Return the arithmetic of each recipe's step, and the machine's rate beside it."""
    by = ("PyTorch, one thread", "PyTorch, two threads", "JAX, one thread", "JAX, two threads")
    table = [["Recipe", "A GAN's step", *by, "Measured on"]]
    for recipe in measured.names():
        rates = [
            told(lambda n=n, r=recipe, by=by: f"{operations(results.rate(n, r, by))}/s")
            for by in PRODUCTS
            for n in (1, 2)
        ]
        date = results.dates.get(recipe, MISSING)
        flop = operations(results.recipes[recipe]["flop"]) if recipe in results.recipes else MISSING
        table.append([measured.benchmark(recipe).title, flop, *rates, date])
    return table


#: Threads, and how they wait: what is measured beside busy processes.
WAITING = {
    (1, ""): "one thread",
    (2, ""): "two threads as they come",
    (2, "passive"): "two threads that wait passively",
}


def busy(results: Results) -> Table:
    """Return how long a step of each recipe takes, and how many times as long beside busy processes."""
    headings = [f"{words}{what}" for words in WAITING.values() for what in ("", ", beside others")]
    table = [["Recipe", "Seeds", *(h[0].upper() + h[1:] for h in headings)]]
    for recipe in measured.names():
        rows = {(row.threads, row.waiting): row for row in results.busy if row.recipe == recipe}
        found = [_quiet_and_busy(rows.get(how)) for how in WAITING]
        seeds = {str(row.seeds) for row in rows.values()} or {MISSING}
        table.append([measured.benchmark(recipe).title, *seeds, *(word for pair in found for word in pair)])
    return table


def _quiet_and_busy(row: Busy | None) -> tuple[str, str]:
    if row is None:
        return MISSING, MISSING
    return duration(median(row.quiet)), f"{row.ratio:.3g} times"


def checks(results: Results) -> Table:
    """Return what was checked before the measurements."""
    table = [["Recipe", "Who", "Seeds", "What", "Found"]]
    for check in results.checks:
        who = ENTRANTS[check["entrant"]].label
        found = f"{check['value']:.2g}" if isinstance(check["value"], float) else str(check["value"])
        table.append(
            [measured.benchmark(check["recipe"]).title, who, str(check["seeds"]), check["what"], found]
        )
    return table


def chapters(results: Results) -> Table:
    """Return how long each chapter runs, and how much memory it takes."""
    run = results.others.get("chapters", {})
    lines = [[name, duration(seconds), f"{peak:.0f} MB"] for name, (seconds, peak) in run.items()]
    return [["Chapter", "Run and compared", "Memory"], *(lines or [["all", MISSING, MISSING]])]


# The figure

#: Colours of the book's cycle, and what tells the lines apart without them.
LINES = {
    "ours": {"color": "#AA4499", "marker": "o", "linestyle": "-"},
    "compiled": {"color": "#8C6D1F", "marker": "D", "linestyle": ":"},
    "jax": {"color": "#56B4E9", "marker": "s", "linestyle": "--"},
}
TITLES = {1: "one thread", 2: "two threads"}
LEVELS = {"source": "-.", "tidied": (0, (1, 2))}


def drawn() -> str:
    """Return the chapter that the figure is of."""
    return next(name for name in measured.names() if measured.benchmark(name).drawn)


def drawn_from(results: Results) -> str:
    """Return what tells the measurements that the figure shows from all others; it is kept in its file."""
    points = [(row.entrant, row.seeds, row.threads, row.seconds) for row in results.of(drawn())]
    return hashlib.sha256(repr(points).encode()).hexdigest()[:16]


def figure(results: Results, path: Path) -> None:
    """Draw the time of a GAN's round over the number of seeds, with one thread and with two."""
    with style.context("gan_helpers.book"):
        fig, axes = plt.subplots(1, 2, figsize=(7, 4.4), sharex=True, sharey=True)
        for ax, threads in zip(axes, (1, 2), strict=True):
            rows = [row for row in results.of(drawn()) if row.threads == threads]
            for entrant, dashes in LEVELS.items():
                for row in rows:
                    if row.entrant == entrant:
                        label = ENTRANTS[entrant].label
                        ax.axhline(1e6 * row.seconds, color="black", linestyle=dashes, label=label)
            for entrant, look in LINES.items():
                mine = [row for row in rows if row.entrant == entrant]
                if mine:
                    x, y = [row.seeds for row in mine], [1e6 * row.seconds for row in mine]
                    ax.plot(x, y, label=ENTRANTS[entrant].label, **look)
            ax.set(xscale="log", yscale="log", xlabel="GANs at once", title=TITLES[threads])
            ax.set_xticks([1, 4, 16, 64, 256], ["1", "4", "16", "64", "256"])
            ax.minorticks_off()
        axes[0].set_ylabel("a GAN's round in µs")
        handles, labels = axes[0].get_legend_handles_labels()
        if handles:
            fig.legend(handles, labels, loc="outside lower center", ncols=2)
        fig.savefig(path, metadata={"Software": None, "Description": drawn_from(results)})
        plt.close(fig)
