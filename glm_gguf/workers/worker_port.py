"""A worker's port: it greets clients, and gives each a session with a process of its own."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from glm_gguf.workers.block_cache import BlockCache
from glm_gguf.workers.greeting import SECONDS, Greeting, NoGreeting, Welcome, other_version, read_greeting
from glm_gguf.workers.heartbeat import beat, tell
from glm_gguf.workers.lent_session import Lent, LentSession
from glm_gguf.workers.sockets import hang_up, without_delay

MOST_CONNECTIONS: Final = 64
"""Connections at once; a session has two."""
MOST_TOLD: Final = 1024
"""Lines about connections that were refused: a scanner that comes for ever does not fill a log."""
ACCEPT_SECONDS: Final = 0.1
"""How long to wait where the system accepts no connection: what it lacks may come back."""


@dataclass(frozen=True, slots=True)
class Lending:
    """What is lent, the weights that are kept, and the version of llama-cpp-python that computes."""

    lent: Lent
    cache: BlockCache | None
    llama: str


class WorkerPort:
    """Serves clients on a listening socket until close(); each connection has a thread."""

    def __init__(self, listener: socket.socket, lending: Lending, told: Callable[[str], object]) -> None:
        """`told` hears in a line of clients that come, leave or are refused."""
        self._listener = listener
        self._lending = lending
        self._llama = lending.llama
        self._tell = told
        self._sessions: dict[str, LentSession] = {}
        self._lock = threading.Lock()
        self._free = threading.Semaphore(MOST_CONNECTIONS)
        self._closed = False
        self._told: set[tuple[str, str]] = set()

    def run(self) -> None:
        """Accept clients until close()."""
        while True:
            try:
                client, source = self._listener.accept()
            except OSError as error:
                if self._closed:
                    return
                self._tell_once("the system", "accepts no connection: ", error.strerror or str(error))
                time.sleep(ACCEPT_SECONDS)
                continue
            if self._free.acquire(blocking=False):
                threading.Thread(target=self._serve, args=(client, source[0], source[1]), daemon=True).start()
            else:
                self._tell_once(source[0], f"is refused: {MOST_CONNECTIONS} connections are open")
                client.close()

    def close(self) -> None:
        """Accept nobody any more, and end all sessions; a second call does nothing."""
        self._closed = True
        hang_up(self._listener)
        self._listener.close()
        with self._lock:
            sessions = list(self._sessions.values())
        for session in sessions:
            session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _serve(self, client: socket.socket, host: str, port: int) -> None:
        """Serve one connection, on its thread."""
        try:
            with client:
                without_delay(client)
                client.settimeout(SECONDS)
                greeting = read_greeting(client)
                reason = other_version(self._llama, greeting.llama)
                if reason is not None:
                    self._tell_once(host, "is refused: it has llama-cpp-python ", f"{greeting.llama[:40]!a}")
                    client.sendall(Welcome(self._llama, reason).line())
                elif greeting.session is None:
                    self._begin(client, f"{host}:{port}")
                else:
                    self._join(client, greeting)
        except NoGreeting as error:
            self._tell_once(host, "is no client of glm-gguf: ", str(error))
        except OSError as error:
            self._tell_once(host, "is gone: ", str(error))
        finally:
            self._free.release()

    def _tell_once(self, host: str, what: str, detail: str = "") -> None:
        """Tell what happened with a host; the same of the same one is told once, and nothing where much was told."""
        with self._lock:
            if (host, what) in self._told or len(self._told) == MOST_TOLD:
                return
            self._told.add((host, what))
        self._tell(f"{host} {what}{detail}")

    def _begin(self, client: socket.socket, source: str) -> None:
        """Serve a session: its connection carries signs of life."""
        try:
            session = LentSession(self._lending.lent, self._lending.cache)
        except NoGreeting:
            client.sendall(Welcome(self._llama, "it could not start llama.cpp; its log says why").line())
            return
        with self._lock:
            self._sessions[session.id] = session
        try:
            if self._closed:  # close() did not see this session
                return
            client.sendall(Welcome(self._llama, None, session.id, session.devices).line())
            self._tell(f"{source} has come")
            threading.Thread(target=_tell_end, args=(session, client), daemon=True).start()
            self._tell(f"{source} has left: {beat(client)}")
        finally:
            with self._lock:
                del self._sessions[session.id]
            session.close()

    def _join(self, client: socket.socket, greeting: Greeting) -> None:
        """Serve a further connection of a session."""
        with self._lock:
            session = self._sessions.get(greeting.session or "")
        if session is None:
            client.sendall(Welcome(self._llama, "the session has ended").line())
            return
        client.sendall(Welcome(self._llama).line())
        client.settimeout(None)
        session.serve(client)


def _tell_end(session: LentSession, client: socket.socket) -> None:
    """Tell the client how the session's process ended, and end the connection."""
    reason = session.wait()
    with suppress(OSError):
        tell(client, reason)
        hang_up(client)
