"""A Sphinx extension for what the pages have beyond their text: buttons, addresses and repairs.

The repository's address is in one place, `[project.urls]` of pyproject.toml; `make publish` writes it there.
Where it is set, pages get buttons that lead to the repository, Colab and Binder, a canonical address, a
picture for social networks and a sitemap. Where it is not, they have none of these, for they would lead
nowhere.
"""

from __future__ import annotations

import base64
import json
import math
import re
from html import escape
from pathlib import Path
from typing import Any

import tomllib
from sphinx.application import Sphinx
from sphinx.config import Config

BRANCH = "main"
SNAPSHOTS = Path(__file__).resolve().parent.parent / "gan_helpers" / "assets"
BUTTONS = {
    "use_repository_button": True,
    "use_edit_page_button": True,
    "use_issues_button": True,
    "repository_branch": BRANCH,
    "launch_buttons": {
        "colab_url": "https://colab.research.google.com",
        "binderhub_url": "https://mybinder.org",
        "notebook_interface": "jupyterlab",
    },
}
# A formula with the brackets before it and the stops, brackets and endings behind it.
FORMULA = re.compile(
    r"(?P<before>[(\[“‘]*)"
    r'<span class="math notranslate nohighlight">.*?</span>'
    r"(?P<after>(?:’s\b|-\w+|[.,;:!?)\]”’…])*)",
    re.DOTALL,
)
OUTPUT = re.compile(r'<div class="(output stream[^"]*)"><div class="highlight"><pre>(.*?)</pre>', re.DOTALL)
FIGURE = re.compile(r'<figure [^>]*id="fig-([a-z0-9-]+)">')
TYPED = re.compile(r'<figure [^>]*id="fig-([a-z0-9-]+)-typed">')
FIRST_TYPED = "2026"  # the number that stands in the field at first, and in the notebook's figure
RUNS = re.compile(r'<figure [^>]*id="fig-obj-runs">')  # of the chapter on objectives
MEASURES = {  # what rankings.js shows, and where a success begins
    "distance": ("distance in floors", 2),
    "modes": ("modes found", None),
    "high_quality": ("share of sharp samples", None),
    "reverse_kl": ("unevenness, as a reverse KL", None),
}
HOLDS = re.compile(r"^(<span></span>)?(Holds:)", re.MULTILINE)


def repository(root: Path) -> str:
    """Return the address of the repository from pyproject.toml, or an empty text if none is set."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project.get("urls", {}).get("Repository", "")


def pages_address(address: str) -> str:
    """Return where GitHub Pages serves the book of a repository, with a slash at the end."""
    owner, name = address.removeprefix("https://github.com/").split("/")
    home = f"https://{owner.lower()}.github.io/"
    return home if f"https://{name.lower()}/" == home else f"{home}{name}/"


def set_addresses(app: Sphinx, config: Config) -> None:
    """Give theme and extensions the repository's address, or take away what needs one."""
    address = repository(Path(app.srcdir))
    if not address:
        config.ogp_social_cards = {"enable": False}
        return
    config.html_baseurl = config.ogp_site_url = pages_address(address)
    config.html_theme_options |= BUTTONS | {"repository_url": address}


def drop_thebe(app: Sphinx, config: Config) -> None:
    """Silence sphinx-thebe, which Jupyter Book always loads.

    Nothing here runs in Thebe. It names servers of others in every page, and declares its constants twice,
    which is an error in the browser's console.
    """
    for listeners in list(app.events.listeners.values()):
        for listener in list(listeners):
            if listener.handler.__module__ == "sphinx_thebe":
                app.disconnect(listener.id)


def unbroken(html: str) -> str:
    """Keep formulas and the brackets and stops beside them together: browsers break the line between them."""

    def joined(match: re.Match[str]) -> str:
        alone = not match["before"] and not match["after"]
        return match[0] if alone else f'<span class="unbroken">{match[0]}</span>'

    return FORMULA.sub(joined, html)


def marked_claims(html: str) -> str:
    """Mark the outputs in which claims speak, and their first words."""

    def marked(match: re.Match[str]) -> str:
        text, claims = HOLDS.subn(r"\1<b>\2</b>", match[2])
        kind = f"{match[1]} claims" if claims else match[1]
        return f'<div class="{kind}"><div class="highlight"><pre>{text}</pre>'

    return OUTPUT.sub(marked, html)


def with_snapshots(html: str) -> str:
    """Put the stored snapshots into each figure that is called like their file, for sliders.js."""

    def joined(match: re.Match[str]) -> str:
        stored = SNAPSHOTS / f"{match[1].replace('-', '_')}.json"
        if not stored.is_file():
            return match[0]
        content = stored.read_text(encoding="utf-8").replace("<", r"\u003c")
        return f'{match[0]}<script type="application/json" class="snapshots">{content}</script>'

    return FIGURE.sub(joined, html)


def with_sheets(html: str) -> str:
    """Put the sheets of digits of all seeds into the figure of numbers that a reader types, for typed.js."""

    def joined(match: re.Match[str]) -> str:
        from gan_helpers.tables import FIRST_SEED  # no other page needs torch for its scripts

        sheets = sorted(SNAPSHOTS.glob(f"{match[1].replace('-', '_')}_seed_*.png"))
        if not sheets:
            return match[0]
        content = {
            "first": FIRST_TYPED,
            "seeds": [
                {"words": f"Run {run}", "png": base64.b64encode(sheet.read_bytes()).decode("ascii")}
                for run, sheet in enumerate(sheets, FIRST_SEED)
            ],
        }
        return f'{match[0]}<script type="application/json" class="sheets">{json.dumps(content)}</script>'

    return TYPED.sub(joined, html)


def results() -> list[dict[str, Any]]:
    """Return the results of the chapter on objectives, by target, measure and row, for rankings.js."""
    from gan_helpers.recipes import objectives  # no other page needs torch for its scripts
    from gan_helpers.tables import ledger

    names = {k: w.replace("$R_1$", "R₁").replace("$R_2$", "R₂") for k, w in objectives.WORDS.items()}
    names["floor"] = "real samples"

    def rows(table: dict[str, Any], measure: str) -> list[dict[str, Any]]:
        unit = table["distance_floor"].quantile(0.5) if measure == "distance" else 1
        found = {key: table[f"{measure}_{key}"] / unit for key in names if f"{measure}_{key}" in table}
        short = {k: [float(f"{v:.4g}") for v in runs.tolist()] for k, runs in found.items()}
        return [  # JSON has no infinity
            {"name": names[k], "runs": [v if math.isfinite(v) else None for v in runs]}
            for k, runs in short.items()
        ]

    return [
        {
            "words": objectives.TARGETS[name].words,
            "measures": [
                {"key": key, "words": words, "limit": limit, "rows": shown}
                for key, (words, limit) in MEASURES.items()
                if (shown := rows(ledger(f"objectives_{name}"), key))
            ],
        }
        for name in objectives.MEASURED
    ]


def with_results(html: str) -> str:
    """Put the tables of results into the figure of all runs, for rankings.js."""

    def joined(match: re.Match[str]) -> str:
        content = json.dumps(results(), ensure_ascii=False, separators=(",", ":")).replace("<", r"\u003c")
        return f'{match[0]}<script type="application/json" class="rankings">{content}</script>'

    return RUNS.sub(joined, html)


#: What figures are given that a reader moves, its script, and its styles.
PUT = (
    (with_snapshots, "sliders.js", ("sliders.css",)),
    (with_results, "rankings.js", ("sliders.css", "rankings.css")),
    (with_sheets, "typed.js", ("typed.css",)),
)


def repair(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Repair what Sphinx and its extensions write, before it goes into the page's template."""
    if "body" in context:
        for put, script, styles in PUT:
            body = put(context["body"])
            if body != context["body"]:  # whose scripts and styles no other page needs
                app.add_js_file(script, loading_method="defer")
                for style in styles:
                    app.add_css_file(style)
            context["body"] = body
    found = context.get("css_files", [])
    context["css_files"] = [style for style in found if "sphinx-thebe" not in str(style.filename)]
    if "body" in context:
        # The entries say that they are entries of a bibliography, and a list may hold only items of a list.
        body = context["body"].replace('<div role="list" class="citation-list">', "<div>")
        context["body"] = marked_claims(unbroken(body))
    if not app.config.html_baseurl and context.get("metatags"):
        # Without the site's address it would be a path, which says nothing.
        context["metatags"] = re.sub(r'<meta property="og:url"[^>]*>\n?', "", context["metatags"])


def write_index(app: Sphinx) -> None:
    """Write robots.txt and a sitemap of all pages of the book, if the site's address is known."""
    base = app.config.html_baseurl
    if not base or app.builder.name != "html":
        return
    addresses = [escape(base + app.builder.get_target_uri(page)) for page in sorted(app.env.found_docs)]
    urls = "".join(f"  <url><loc>{address}</loc></url>\n" for address in addresses)
    sitemap = (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{urls}</urlset>\n'
    )
    (Path(app.outdir) / "sitemap.xml").write_text(sitemap, encoding="utf-8")
    (Path(app.outdir) / "robots.txt").write_text(f"Sitemap: {base}sitemap.xml\n", encoding="utf-8")


def finish(app: Sphinx, error: Exception | None) -> None:
    """Add the files that stand beside the pages, if these were built."""
    if error is None:
        write_index(app)


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect the extension to Sphinx, before the theme looks at its options."""
    app.connect("config-inited", set_addresses, priority=100)
    app.connect("config-inited", drop_thebe, priority=100)
    app.connect("html-page-context", repair, priority=900)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
