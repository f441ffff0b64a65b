"""How much is fetched at once, and how long an answer is waited for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Network:
    """Four connections of 8 MiB each: one seldom fills a line, and a piece is long against a round trip."""

    connections: int = 4
    piece_bytes: int = 2**23
    connect_seconds: float = 10.0
    silent_seconds: float = 20.0
    """Seconds in which something must come; a whole answer may take longer."""
