"""One client of a worker: a process of its own, in which ggml's RPC server lends the devices.

A malformed message ends that process alone, and its end gives all memory back.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from glm_gguf.workers.address import LOOPBACK, Address
from glm_gguf.workers.block_cache import BlockCache
from glm_gguf.workers.greeting import LentDevice, read_devices
from glm_gguf.workers.sockets import connected, hang_up
from glm_gguf.workers.worker_relay import WorkerRelay

MODULE: Final = "glm_gguf.llama.rpc_server"
START_SECONDS: Final = 30.0
MOST_LINE: Final = 2**16
_PACKAGE: Final = Path(__file__).absolute().parent.parent


@dataclass(frozen=True, slots=True)
class Lent:
    """What a worker lends: threads of its CPU, and which devices by llama.cpp's names; empty is all GPUs, or the CPU.

    `memory` is the most bytes of each device; None is what is free.
    """

    threads: int
    devices: tuple[str, ...] = ()
    memory: int | None = None


class LentSession:
    """A child process that serves one client, until close()."""

    def __init__(self, lent: Lent, cache: BlockCache | None) -> None:
        """Start the process; raises OSError, NoGreeting where it ends at once or tells no devices in time."""
        self.id = secrets.token_hex(16)
        self._cache = cache
        self._port = _free_port()
        self._streams: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._closed = False
        command = [sys.executable, "-P", "-m", MODULE, f"{LOOPBACK}:{self._port}", str(lent.threads)]
        command += [str(lent.memory or 0), *lent.devices]
        # The child ends where its stdin does: this process may be killed.
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment(), start_new_session=True
        )
        late = threading.Timer(START_SECONDS, self._child.kill)  # a driver may never answer
        late.daemon = True
        late.start()
        try:
            assert self._child.stdout is not None
            self.devices: tuple[LentDevice, ...] = read_devices(self._child.stdout.readline(MOST_LINE))
        except BaseException:
            self.close()
            raise
        finally:
            late.cancel()

    def serve(self, client: socket.socket) -> None:
        """Serve a further connection of the client until it ends."""
        try:
            with self._closable(client), self._connected() as server, self._closable(server):
                if not self._closed:
                    WorkerRelay(client, server, self._cache).run()
        except (EOFError, OSError):  # one side has ended; heartbeats tell the other
            return

    def wait(self) -> str:
        """Wait for the end of the process, and say how it ended."""
        code = self._child.wait()
        if code < 0:
            return f"its process was ended by signal {-code}" + (" (out of memory?)" if code == -9 else "")
        return f"its process ended with code {code}"

    def close(self) -> None:
        """End the process and all connections; a second call does nothing."""
        with self._lock:
            self._closed = True
            for connection in self._streams:
                hang_up(connection)
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                pipe.close()

    @contextmanager
    def _closable(self, connection: socket.socket) -> Iterator[None]:
        """Let close() end a connection."""
        with self._lock:
            self._streams.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._streams.discard(connection)

    def _connected(self) -> socket.socket:
        """Connect with ggml's server, which may not listen yet."""
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                connection = connected(Address(LOOPBACK, self._port), START_SECONDS)
            except ConnectionRefusedError:
                if self._child.poll() is not None or time.monotonic() > end:
                    raise
                time.sleep(0.01)
            else:
                connection.settimeout(None)
                return connection


def _free_port() -> int:
    """Find a port that nobody listens on."""
    with closing(socket.create_server((LOOPBACK, 0))) as probe:
        return int(probe.getsockname()[1])


def _environment() -> dict[str, str]:
    """Let the child find this package, installed or not."""
    paths = [str(_PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
