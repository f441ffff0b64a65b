"""The open connections of one server; beyond the limit, a new one replaces the longest idle one."""

from __future__ import annotations

from typing import Protocol


class Connection(Protocol):
    """A connection that may be closed."""

    def abort(self) -> None:
        """Close it at once, with data unsent."""


class Connections:
    """At most `most` connections; one is idle while its client owes a request, or the rest of one."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: set[Connection] = set()
        self._idle: dict[Connection, None] = {}  # longest idle first

    def admit(self, connection: Connection) -> bool:
        """Add a connection, in place of the longest idle one if need be; False if none is idle."""
        if len(self._open) >= self._most:
            longest = next(iter(self._idle), None)
            if longest is None:
                return False
            self.remove(longest)
            longest.abort()
        self._open.add(connection)
        self.mark_idle(connection)
        return True

    def mark_idle(self, connection: Connection) -> None:
        """The client owes a request."""
        self._idle.pop(connection, None)
        if connection in self._open:
            self._idle[connection] = None

    def mark_busy(self, connection: Connection) -> None:
        """The request is complete; the client waits for the response."""
        self._idle.pop(connection, None)

    def remove(self, connection: Connection) -> None:
        """Forget a closed connection."""
        self._open.discard(connection)
        self._idle.pop(connection, None)
