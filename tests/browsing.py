"""A real browser and the built pages, for the tests of both.

The browser is one that this system has, or the one that GAN_BOOK_BROWSER names; none is ever fetched. The
pages are those in the folder that GAN_BOOK_SITE names, or those in _build/html if no source is newer, or are
built for the tests into a temporary folder. The browser reaches 127.0.0.1 alone: whatever a page wants from
elsewhere fails, and is reported.
"""

import functools
import os
import shutil
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
JUPYTER_BOOK = "from jupyter_book.cli.main import main; main()"
BUILD = ("--warningiserror", "--nitpick", "--keep-going", "--quiet")  # as in the Makefile
SOURCES = ("_config.yml", "_toc.yml", "pyproject.toml", "requirements.txt")
SOURCES += ("tools/reference_links.py", "tools/site_pages.py", "book/**/*", "gan_helpers/**/*.py")
SOURCES += ("gan_helpers/assets/*.json", "gan_helpers/assets/*.png")
HOST = "127.0.0.1"
ARGUMENTS = [
    f"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE {HOST}",
    "--no-proxy-server",
    "--disable-gpu",
    "--disable-quic",
]


def browser_file():
    """Return the browser that GAN_BOOK_BROWSER names, or the first one on the path, or None."""
    if named := os.environ.get("GAN_BOOK_BROWSER"):
        return named
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def newer_source():
    """Return what keeps _build/html from being the pages of these sources, or None if nothing does."""
    complete = ROOT / "_build" / "html" / ".complete"
    if not complete.exists():
        return "_build/html is not complete"
    files = [path for pattern in SOURCES for path in ROOT.glob(pattern) if path.is_file()]
    files = [path for path in files if ".ipynb_checkpoints" not in path.parts]
    latest = max(files, key=lambda path: path.stat().st_mtime)
    if latest.stat().st_mtime <= complete.stat().st_mtime:
        return None
    return f"{latest.relative_to(ROOT).as_posix()} is newer than _build/html"


def pages_tested():
    """Return in a few words which pages the tests look at."""
    if named := os.environ.get("GAN_BOOK_SITE"):
        return f"those in {named}"
    reason = newer_source()
    return f"built into a temporary folder, because {reason}" if reason else "those in _build/html"


def built(root, folder, *options):
    """Build a book into a folder, and return where its pages are."""
    command = [sys.executable, "-c", JUPYTER_BOOK, "build", str(root), "--path-output", str(folder), *options]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, f"the book could not be built:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
    return folder / "_build" / "html"


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The folder of the built pages."""
    if named := os.environ.get("GAN_BOOK_SITE"):
        return Path(named).resolve()
    if newer_source() is None:
        return ROOT / "_build" / "html"
    return built(ROOT, tmp_path_factory.mktemp("book"), *BUILD)


# Playwright keeps an event loop running in this thread for as long as it is open, and nbval's kernels want
# one of their own. So it is closed at the end of each module that uses it, not at the end of the session.
@pytest.fixture(scope="module")
def browser():
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

    def log_message(self, *_):
        """Say nothing: the tests report what matters."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """Say nothing when a browser hangs up."""


@pytest.fixture(scope="module")
def address(site):
    """The address of a server of the built pages, with a slash at the end."""
    with _Server((HOST, 0), functools.partial(_Handler, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://{HOST}:{server.server_port}/"
        server.shutdown()
        thread.join()


class Visit:
    """A page in the browser, and all that went wrong since it was opened, in words."""

    def __init__(self, page):
        self.page, self.complaints = page, []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self._note(f"uncaught: {error}"))
        page.on("websocket", lambda socket: self._note(f"socket to {socket.url}"))
        page.on("request", self._request)
        page.on("requestfailed", self._failed)
        page.on("response", lambda r: r.status >= 400 and self._note(f"{r.status}: {r.url}"))

    def open(self, url, edit=None):
        """Go to a page, with its text edited; its mathematics and its pictures are there in the end."""
        self.complaints.clear()
        if edit:
            self.page.route(
                url, lambda route: route.fulfill(response=(r := route.fetch()), body=edit(r.text())), times=1
            )
        self.page.goto(url, wait_until="load")
        self.page.evaluate(SETTLED)
        return self

    def _note(self, complaint):
        if complaint not in self.complaints:
            self.complaints.append(complaint)

    def _console(self, message):
        if message.type in ("error", "warning"):
            self._note(f"console {message.type}: {message.text} ({message.location['url']})")

    def _request(self, request):
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob", "file") and parts.hostname != HOST:
            self._note(f"third party: {request.url}")

    def _failed(self, request):
        if request.failure != "net::ERR_ABORTED":  # the page was left before the answer came
            self._note(f"failed: {request.url} ({request.failure})")


SETTLED = """async () => {
  if (document.querySelector('script[src*="mathjax"]')) {
    while (!window.MathJax?.startup?.promise) await new Promise(done => setTimeout(done, 10));
    await MathJax.startup.promise;
  }
  for (const image of document.images) image.loading = "eager";
  await Promise.allSettled([...document.images].map(image => image.decode()));
  await document.fonts.ready;
  // A size is reported after the next frame, and what is drawn anew for it waits for another.
  const frames = matchMedia("(scripting: enabled)").matches ? 3 : 0;
  for (let frame = 0; frame < frames; frame++) await new Promise(requestAnimationFrame);
}"""


class Visitor:
    """Opens pages, each in a profile of its own."""

    def __init__(self, browser):
        self.browser, self.contexts = browser, []

    def __call__(self, url, width=1280, theme="light", motion="reduce", script=True):
        """Open a page in a window of this width, "light" or "dark"."""
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
        return Visit(context.new_page()).open(url)

    def close(self):
        """Close all pages that are open."""
        while self.contexts:
            self.contexts.pop().close()


@pytest.fixture
def visit(browser):
    """A function that opens a page: visit(url, width=1280, theme="light"). All are closed after the test."""
    visitor = Visitor(browser)
    yield visitor
    visitor.close()


@pytest.fixture(scope="module")
def reader(browser):
    """One page for all that is read in a wide window: reader.open(url). What pages share is fetched once."""
    visitor = Visitor(browser)
    yield visitor("about:blank")
    visitor.close()
