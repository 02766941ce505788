"""A server on this machine that gives one file, and breaks off, changes its mind, or lies."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Server:
    """What it serves, how, and what it was asked."""

    data: bytes
    etag: str | None = '"one"'
    last_modified: str | None = None
    ranges: bool = True
    breaks_after: list[int] = field(default_factory=list)  # bytes of each answer in turn
    statuses: list[int] = field(default_factory=list)  # of the first answers
    redirect: str | None = None
    says_length: bool = True
    moves_range_by: int = 0
    stalls: threading.Event | None = None  # instead of breaking off, wait for this
    pauses_s: float = 0  # in the middle of the file
    asked: list[dict[str, str]] = field(default_factory=list)
    url: str = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked.append(dict(handler.headers))
        if self.statuses:
            handler.send_error(self.statuses.pop(0))
            return
        if self.redirect:
            handler.send_response(302)
            handler.send_header("Location", self.redirect)
            handler.end_headers()
            return
        body, span = self.data, handler.headers.get("Range")
        fresh = handler.headers.get("If-Range") in (None, self.etag, self.last_modified)
        if span and self.ranges and fresh:
            begin = int(span.removeprefix("bytes=").rstrip("-"))
            if begin >= len(body):
                handler.send_error(416)
                return
            begin += self.moves_range_by
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {begin}-{len(body) - 1}/{len(body)}")
            body = body[begin:]
        else:
            handler.send_response(200)
        for name, value in (("ETag", self.etag), ("Last-Modified", self.last_modified)):
            if value:
                handler.send_header(name, value)
        if self.says_length:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if not self.breaks_after:
            half = len(body) // 2
            handler.wfile.write(body[:half])
            time.sleep(self.pauses_s)
            handler.wfile.write(body[half:])
            return
        handler.wfile.write(body[: self.breaks_after.pop(0)])
        if self.stalls is not None:
            handler.wfile.flush()
            self.stalls.wait()


@contextmanager
def serving(data: bytes, name: str) -> Iterator[Server]:
    """Serve `data` at `Server.url`, which ends with `name`."""
    served = Server(data)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.answer(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        served.url = f"http://127.0.0.1:{listening.server_address[1]}/a/{name}"
        try:
            yield served
        finally:
            if served.stalls is not None:
                served.stalls.set()
            listening.shutdown()
            thread.join()
