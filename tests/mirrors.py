"""IDX files made to order, and a server on this machine that hands them out, or fails to."""

from __future__ import annotations

import gzip
import hashlib
import math
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from gan_helpers import mnist
from gan_helpers.mnist import IdxFile

NAMES = [file.name for file in mnist.FULL]
Answer = Callable[[BaseHTTPRequestHandler, str], None]


def idx(shape: tuple[int, ...], content: bytes, kind: int = 8) -> bytes:
    """Return an IDX file as the format's description has it, gzipped."""
    header = bytes((0, 0, kind, len(shape))) + b"".join(n.to_bytes(4, "big") for n in shape)
    return gzip.compress(header + content, compresslevel=1, mtime=0)


def entry(packed: bytes, shape: tuple[int, ...], name: str = "some.gz") -> IdxFile:
    """Return the entry of a list of files that ``packed`` fits."""
    return IdxFile(name, shape, max(1, len(packed)), hashlib.sha256(packed).hexdigest())


def publish(patch: pytest.MonkeyPatch, shapes: tuple[tuple[int, ...], ...]) -> dict[str, bytes]:
    """Make four files of these shapes the full set, and return them by name."""
    files = {
        name: idx(shape, bytes(range(10)) * (math.prod(shape) // 10))
        for name, shape in zip(NAMES, shapes, strict=True)
    }
    patch.setattr(mnist, "FULL", tuple(entry(files[n], s, n) for n, s in zip(NAMES, shapes, strict=True)))
    return files


class Mirror:
    """A server on this machine; ``answer`` decides what each request gets, and ``asked`` keeps the names."""

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

    def close(self) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
