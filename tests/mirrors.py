"""A server on this machine that hands out files, or fails to."""

from __future__ import annotations

import gzip
import hashlib
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from gan_helpers.downloads import File

Answer = Callable[[BaseHTTPRequestHandler, str], None]


def entry(name: str, content: bytes) -> File:
    """Return what is known of a file with this content."""
    return File(name, len(content), hashlib.sha256(content).hexdigest())


def pack(content: bytes) -> bytes:
    return gzip.compress(content, compresslevel=1, mtime=0)


class Mirror:
    """A server of files by name; ``answer`` decides what each request gets, and ``asked`` keeps the names."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files, self.asked = files, []
        self.answer: Answer = self.serve
        self.closing = threading.Event()
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rsplit("/", 1)[-1]
                mirror.asked.append(name)
                try:
                    mirror.answer(self, name)
                except ConnectionError:  # who asked has gone
                    pass

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/mnist/"

    def serve(self, request: BaseHTTPRequestHandler, name: str) -> None:
        self.send(request, 200, self.files[name])

    @staticmethod
    def send(request: BaseHTTPRequestHandler, status: int, body: bytes, **headers: object) -> None:
        request.send_response(status)
        for header, value in {"Content_Length": len(body), **headers}.items():
            if value is not None:
                request.send_header(header.replace("_", "-"), str(value))
        request.end_headers()
        request.wfile.write(body)

    def __enter__(self) -> Mirror:
        return self

    def __exit__(self, *error: object) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
