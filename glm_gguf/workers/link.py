"""A client's link to a worker: the session, signs of life, and a port on this machine at which ggml finds the worker.

ggml's client aborts the process where a connection breaks (RPC_STATUS_ASSERT of ggml-rpc.cpp). So it talks to a port of
this process, where a connection never breaks: see client_relay.py.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

import psutil

from glm_gguf.errors import EngineError, WorkerLostError
from glm_gguf.workers.address import LOOPBACK, Address
from glm_gguf.workers.client_relay import Relay
from glm_gguf.workers.greeting import SECONDS, Greeting, NoGreeting, Welcome, greeted
from glm_gguf.workers.heartbeat import beat
from glm_gguf.workers.sockets import connected, hang_up, without_delay

CONNECT_SECONDS: Final = 10.0
REASON_SECONDS: Final = 1.0
"""How long to wait for the worker's own reason, where ggml's connection broke first."""
RETRY_SECONDS: Final = 0.1
"""How long to wait where the process may open no more files: some may be closed."""
START: Final = "start it there: glm-gguf worker"


class Link:
    """A session with a worker, until close(). Any thread may ask whether it is lost."""

    def __init__(self, address: Address, llama: str) -> None:
        """Greet the worker; raises EngineError."""
        self.address = address
        self._llama = llama
        self._told = threading.Event()
        """The reason of the loss is known."""
        self._reason: str | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._streams: set[socket.socket] = set()
        with ExitStack() as stack:
            self._control = stack.enter_context(self._connected())
            self.welcome = self._greeted(self._control, Greeting(llama))
            self._listener = stack.enter_context(socket.create_server((LOOPBACK, 0)))
            self.endpoint = f"{LOOPBACK}:{self._listener.getsockname()[1]}"
            stack.pop_all()
        for work in (self._watch, self._accept):
            threading.Thread(target=work, name=f"glm-gguf-worker-{address}", daemon=True).start()

    @property
    def lost(self) -> bool:
        """The worker is lost."""
        return self._reason is not None

    @property
    def loss(self) -> str | None:
        """Why it is lost."""
        return self._reason

    def check(self) -> None:
        """Raise WorkerLostError where the worker is lost."""
        if self.lost:
            self._told.wait(REASON_SECONDS)
            fix = f"{START}, and load the model again"
            raise WorkerLostError(f"the worker was lost: {self._reason}", where=str(self.address), fix=fix)

    def lose(self, reason: str) -> None:
        """Count the worker as lost, and end all connections to it: nobody waits for it any more."""
        with self._lock:
            if not self._told.is_set():
                self._reason = reason
                self._told.set()
            for connection in (self._control, *self._streams):
                hang_up(connection)

    def lose_stream(self, reason: str) -> None:
        """Count the worker as lost since a connection failed; it may still tell a better reason on the other one."""
        with self._lock:
            if self._reason is None:
                self._reason = reason
        later = threading.Timer(REASON_SECONDS, self.lose, [reason])
        later.daemon = True
        later.start()

    def opened(self) -> socket.socket:
        """Open another connection in this session, for ggml's messages; raises WorkerLostError."""
        self.check()
        with ExitStack() as stack:
            try:
                connection = self._connected()
                stack.callback(self.forget, connection)
                with self._lock:
                    self._streams.add(connection)
                self._greeted(connection, Greeting(self._llama, self.welcome.session))
            except EngineError as error:
                self.lose(error.what)
            self.check()  # whatever has lost it meanwhile
            connection.settimeout(None)
            stack.pop_all()
        return connection

    def forget(self, connection: socket.socket) -> None:
        """Close a connection of `opened`."""
        with self._lock:
            self._streams.discard(connection)
        connection.close()

    def close(self) -> None:
        """End the session, when ggml has freed all that it holds there; a second call does nothing."""
        if not self._closed:
            self._closed = True
            self.lose("the session was ended here")
            hang_up(self._listener)
            self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _connected(self) -> socket.socket:
        try:
            connection = connected(self.address, CONNECT_SECONDS)
        except OSError as error:
            what = f"the worker cannot be reached: {error.strerror or error}"
            raise EngineError(what, where=str(self.address), fix=START) from error
        connection.settimeout(SECONDS)
        return connection

    def _greeted(self, connection: socket.socket, greeting: Greeting) -> Welcome:
        try:
            return greeted(connection, greeting)
        except NoGreeting as error:
            what, fix = f"there is no worker of glm-gguf: {error}", f"{START}, and not llama.cpp's rpc-server"
        except OSError as error:
            what, fix = f"the worker does not answer: {error.strerror or error}", START
        except EngineError as error:
            what, fix = error.what, error.fix or START
        raise EngineError(what, where=str(self.address), fix=fix)

    # Threads run what follows.

    def _watch(self) -> None:
        """Wait until the worker shows no sign of life."""
        with self._control:
            reason = beat(self._control)
            self.lose(reason)

    def _accept(self) -> None:
        """Give each connection of ggml's in this process a relay."""
        while True:
            try:
                near, source = self._listener.accept()
            except OSError:
                if self._closed:
                    return
                time.sleep(RETRY_SECONDS)
                continue
            if not _is_ours(source):
                near.close()
                continue
            without_delay(near)
            threading.Thread(target=Relay(self, near).run, name=f"glm-gguf-relay-{self.address}", daemon=True).start()


def _is_ours(source: tuple[str, int]) -> bool:
    """Tell whether a connection comes from this process: other users of this machine have no business here."""
    while True:
        try:
            ours = psutil.Process().net_connections("tcp4")
        except OSError:
            time.sleep(RETRY_SECONDS)
        else:
            return any(connection.laddr == source for connection in ours)
