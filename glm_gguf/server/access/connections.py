"""The open connections of one server: where one more comes than allowed, who has let it wait longest is hung up on."""

from __future__ import annotations

from typing import Protocol


class Connection(Protocol):
    """What may be hung up on."""

    def hang_up(self) -> None:
        """Close it at once, whatever is still to be sent."""


class Connections:
    """So many at most; those on which the client mark_idle us a request, or the rest of one, make room for others."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: set[Connection] = set()
        self._idle: dict[Connection, None] = {}  # who has owed us something longest is first

    def admit(self, connection: Connection) -> bool:
        """Count a new connection; False where there is no room for it."""
        if len(self._open) >= self._most:
            longest = next(iter(self._idle), None)
            if longest is None:
                return False
            self.remove(longest)
            longest.hang_up()
        self._open.add(connection)
        self.mark_idle(connection)
        return True

    def mark_idle(self, connection: Connection) -> None:
        """From now on the client is to say something."""
        self._idle.pop(connection, None)
        if connection in self._open:
            self._idle[connection] = None

    def mark_busy(self, connection: Connection) -> None:
        """Its request is there: now the client waits for us."""
        self._idle.pop(connection, None)

    def remove(self, connection: Connection) -> None:
        """It is closed."""
        self._open.discard(connection)
        self._idle.pop(connection, None)
