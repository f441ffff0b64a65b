"""A server that answers each path with bytes as they are, faults included, and records what it was asked."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

Write = Callable[[bytes], None]
Answer = bytes | Callable[[Write], None]


def page(body: str | bytes, kind: str = "text/html; charset=utf-8", status: str = "200 OK", more: str = "") -> bytes:
    """Return a whole HTTP answer."""
    data = body.encode() if isinstance(body, str) else body
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n{more}\r\n"
    return head.encode("latin-1") + data


def redirect(location: str) -> bytes:
    """Return a redirect."""
    return page("", status="302 Found", more=f"Location: {location}\r\n")


@dataclass
class PageServer:
    """A running server: answers by path, and the paths that it was asked for."""

    port: int = 0
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    def answer(self, path: str) -> Answer:
        self.asked.append(path)
        return self.answers.get(path.partition("?")[0], page("nothing here", status="404 Not Found"))


@contextmanager
def serving() -> Iterator[PageServer]:
    """Serve until the end of the block."""
    server = PageServer()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            head = b"".join(iter(self.rfile.readline, b"\r\n")).decode("latin-1")
            if not head:
                return
            server.heads.append(head)
            answer = server.answer(head.split(" ")[1])
            with suppress(OSError):  # the client has gone
                answer(self.wfile.write) if callable(answer) else self.wfile.write(answer)

    class Listener(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Listener(("127.0.0.1", 0), Handler) as listener:
        server.port = listener.server_address[1]
        thread = threading.Thread(target=listener.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            listener.shutdown()
            thread.join()
