"""A link between a client and a worker that counts bytes, is slow, falls silent, or breaks."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

PIECE = 2**16


class RoughLink:
    """A port of this machine that passes everything on to `target`, until close()."""

    def __init__(self, target: tuple[str, int], bytes_a_second: float = 0) -> None:
        self._target = target
        self._rate = bytes_a_second
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.sent = 0
        """Bytes from clients to the target."""
        self.received = 0
        self.on_sent: Callable[[int], None] = lambda sent: None
        """Is told of the bytes sent so far."""
        self._passing = threading.Event()
        self._passing.set()
        self._refuses = False
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def fall_silent(self) -> None:
        """Pass nothing on any more, and end nothing."""
        self._passing.clear()

    def speak(self) -> None:
        """Pass everything on again."""
        self._passing.set()

    def cut(self) -> None:
        """End all connections."""
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def refuse(self) -> None:
        """End all connections, and every new one at once."""
        self._refuses = True
        self.cut()

    def admit(self) -> None:
        """Take new connections again."""
        self._refuses = False

    def close(self) -> None:
        """End all."""
        self._listener.close()
        self.cut()
        self.speak()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if self._refuses:
                    near.close()
                    continue
                try:
                    far = socket.create_connection(self._target)
                except OSError:
                    near.close()
                    continue
                for connection in (near, far):
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._open += [near, far]
                for source, target, outward in ((near, far, True), (far, near, False)):
                    threading.Thread(target=self._pass, args=(source, target, outward), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, outward: bool) -> None:
        with suppress(OSError):
            while data := source.recv(PIECE):
                self._passing.wait()
                if self._rate:
                    time.sleep(len(data) / self._rate)
                if outward:
                    self.sent += len(data)
                    self.on_sent(self.sent)
                else:
                    self.received += len(data)
                target.sendall(data)
        for connection in (source, target):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
