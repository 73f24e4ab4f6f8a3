"""A real browser and the built pages, for the tests of both.

The browser is one that this system has, or the one that GAN_BOOK_BROWSER names; none is ever fetched. The
pages are those in the folder that GAN_BOOK_SITE names, or those in _build/html if no source is newer, or are
built for the tests into a temporary folder. The browser reaches 127.0.0.1 alone: whatever a page wants from
elsewhere fails, and is reported.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
JUPYTER_BOOK = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
BUILD = ("--warningiserror", "--nitpick", "--keep-going", "--quiet")  # as in the Makefile
HOST = "127.0.0.1"
ARGUMENTS = [
    f"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE {HOST}",
    "--no-proxy-server",
    "--disable-gpu",
    "--disable-quic",
]


def browser_file() -> str | None:
    """Return the browser that GAN_BOOK_BROWSER names, or the first one on the path, or None."""
    if named := os.environ.get("GAN_BOOK_BROWSER"):
        return named
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def sources(root: Path = ROOT) -> list[Path]:
    """Return the files that the pages are built from."""
    names = ["_config.yml", "_toc.yml", "pyproject.toml", "requirements.txt"]
    found = [root / name for name in [*names, "tools/reference_links.py", "tools/site_pages.py"]]
    found += [path for path in (root / "book").rglob("*") if ".ipynb_checkpoints" not in path.parts]
    return found + list((root / "gan_helpers").rglob("*.py"))


def newer_source(root: Path = ROOT) -> str | None:
    """Return what keeps _build/html from being the pages of these sources, or None if nothing does."""
    complete = root / "_build" / "html" / ".complete"
    if not complete.exists():
        return "_build/html is not complete"
    latest = max((path for path in sources(root) if path.is_file()), key=lambda path: path.stat().st_mtime)
    if latest.stat().st_mtime <= complete.stat().st_mtime:
        return None
    return f"{latest.relative_to(root).as_posix()} is newer than _build/html"


def pages_tested() -> str:
    """Return in a few words which pages the tests look at."""
    if named := os.environ.get("GAN_BOOK_SITE"):
        return f"those in {named}"
    reason = newer_source()
    return f"built into a temporary folder, because {reason}" if reason else "those in _build/html"


def built(folder: Path, root: Path = ROOT) -> Path:
    """Build the book into a folder, as `make book` does, and return where its pages are."""
    command = [*JUPYTER_BOOK, "build", str(root), "--path-output", str(folder), *BUILD]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, f"the book could not be built:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
    return folder / "_build" / "html"


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built pages."""
    if named := os.environ.get("GAN_BOOK_SITE"):
        return Path(named).resolve()
    if newer_source() is None:
        return ROOT / "_build" / "html"
    return built(tmp_path_factory.mktemp("book"))


# Playwright keeps an event loop running in this thread for as long as it is open, and nbval's kernels want
# one of their own. So it is closed at the end of each module that uses it, not at the end of the session.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser without a window."""
    file = browser_file()
    if file is None:
        pytest.skip("no Chromium was found: install one, or set GAN_BOOK_BROWSER to its file")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=file, args=ARGUMENTS)
        yield opened
        opened.close()


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing: the tests report what matters."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing when a browser hangs up."""


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """The address of a server of the built pages, with a slash at the end."""
    with _Server((HOST, 0), functools.partial(_Handler, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://{HOST}:{server.server_port}/"
        server.shutdown()
        thread.join()


@dataclass
class Visit:
    """A page in the browser, and all that went wrong on it so far, in words."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def watch(self) -> None:
        """Note errors of the page and of its requests from now on."""
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self._note(f"uncaught: {error}"))
        self.page.on("request", self._request)
        self.page.on("requestfailed", self._failed)
        self.page.on("response", self._response)
        self.page.on("websocket", lambda socket: self._note(f"socket to {socket.url}"))

    def open(self, url: str) -> Visit:
        """Open a page, and wait until its mathematics and its pictures are there."""
        self.page.goto(url, wait_until="load")
        self.page.evaluate(SETTLED)
        return self

    def _note(self, complaint: str) -> None:
        if complaint not in self.complaints:
            self.complaints.append(complaint)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            place = message.location["url"]
            self._note(f"console {message.type}: {message.text}" + (f" ({place})" if place else ""))

    def _request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("data", "blob", "file") or parts.hostname == HOST:
            return
        self._note(f"third party: {request.url}")

    def _failed(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # the page was left before the answer came
            self._note(f"failed: {request.url} ({request.failure})")

    def _response(self, response: Response) -> None:
        if response.status >= 400:
            self._note(f"{response.status}: {response.url}")


SETTLED = """async () => {
  if (document.querySelector('script[src*="mathjax"]')) {
    while (!window.MathJax?.startup?.promise) await new Promise(done => setTimeout(done, 10));
    await MathJax.startup.promise;
  }
  for (const image of document.images) image.loading = "eager";
  await Promise.allSettled([...document.images].map(image => image.decode()));
  await document.fonts.ready;
}"""


class Visitor:
    """Opens pages, each in a profile of its own."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.contexts = []

    def __call__(
        self,
        url: str,
        width: int = 1280,
        theme: str = "light",
        edit: Callable[[str], str] | None = None,
        motion: str = "reduce",
        script: bool = True,
    ) -> Visit:
        """Open a page in a window of this width, "light" or "dark", and with its text edited."""
        phone = width < 600
        context = self.browser.new_context(
            viewport={"width": width, "height": 844 if phone else 900},
            is_mobile=phone,
            has_touch=phone,
            color_scheme=theme,
            reduced_motion=motion,
            java_script_enabled=script,
            service_workers="block",
        )
        self.contexts.append(context)
        context.set_default_timeout(120_000)
        # As if the reader had chosen it before; what is chosen later stays.
        choose = f"for (const name of ['mode', 'theme']) localStorage[name] ??= '{theme}';"
        context.add_init_script(f"try {{ {choose} }} catch {{}}")
        visit = Visit(context.new_page())
        visit.watch()
        if edit:
            visit.page.route(
                url, lambda route: route.fulfill(response=(r := route.fetch()), body=edit(r.text()))
            )
        return visit.open(url)

    def close(self) -> None:
        """Close all pages that are open."""
        while self.contexts:
            self.contexts.pop().close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visitor]:
    """A function that opens a page: visit(url, width=1280, theme="light"). All are closed after the test."""
    visitor = Visitor(browser)
    yield visitor
    visitor.close()
