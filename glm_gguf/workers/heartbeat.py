"""A connection on which both sides show that they live, a byte a second, whatever they compute meanwhile.

TCP alone notices a cut cable after many minutes, and a stopped process never.
"""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import Final

BEAT_SECONDS: Final = 1.0
SILENCE_SECONDS: Final = 10.0
"""Without a byte for so long, the other side counts as lost. Where packets are lost, TCP has sent one again five or six
times by then."""
BEAT: Final = b"\n"
MOST_TOLD: Final = 300
"""Bytes of a reason."""


def beat(connection: socket.socket) -> str:
    """Send and read beats until the other side falls silent or ends; return the reason."""
    told = bytearray()
    heard = due = time.monotonic()
    while True:
        try:
            if time.monotonic() >= due:
                due = time.monotonic() + BEAT_SECONDS
                connection.sendall(BEAT)
            connection.settimeout(max(due - time.monotonic(), 0.001))
            found = connection.recv(4096)
        except TimeoutError:
            if time.monotonic() - heard > SILENCE_SECONDS:
                return f"no sign of life for {SILENCE_SECONDS:g} s"
            continue
        except OSError as error:
            return f"the connection broke: {error.strerror or error}"
        if not found:
            return told.decode("utf-8", "replace") or "it ended the connection"
        heard = time.monotonic()
        told = (told + found.replace(BEAT, b""))[:MOST_TOLD]


def tell(connection: socket.socket, reason: str) -> None:
    """Tell the other side why the connection ends now."""
    with suppress(OSError):  # then it learns less
        connection.sendall(reason.encode()[:MOST_TOLD] + BEAT)
