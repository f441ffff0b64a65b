"""The server and the worker of `soak_all.py`: processes that it starts, kills with -9 and starts again."""

from __future__ import annotations

import multiprocessing
import socket
import time
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.context import SpawnProcess
from pathlib import Path

import httpx
import psutil
from lending import WorkerProcess, worker
from waiting import until

from scripts.soak_report import Sample

N_CTX = 4096

START_SECONDS = 600.0
"""Patience with a server that loads its model beside other work."""


@dataclass(frozen=True)
class Place:
    """The files that servers share."""

    model: Path
    adapters: tuple[Path, ...]
    directory: Path

    def serve(self, listener: socket.socket, lender: str | None) -> None:
        """Serve, as `glm-gguf serve` does; with settings under which batches of any shape give the same logits."""
        from glm_gguf import GLM, CacheType, EngineOptions, LoraAdapter
        from glm_gguf.engine.session_directory import SessionDirectory
        from glm_gguf.server.app import create_app
        from glm_gguf.server.batches.settings import BatchSettings
        from glm_gguf.server.settings import ServerSettings
        from glm_gguf.server.uvicorn_server import run_server

        exact = CacheType.F32
        options = EngineOptions(
            threads=1,
            n_ctx=N_CTX,
            n_parallel=8,
            n_queue=40,
            cache_type_k=exact,
            cache_type_v=exact,
            flash_attention=False,
            repack=False,
            # Without flash attention values lie transposed: a worker is asked for each row of a prefix by itself, which
            # takes up to 3 s of 800 tokens. Short ones are enough here.
            n_host_cache=None if lender is None else 256,
            workers=() if lender is None else (lender,),
            lora=tuple(LoraAdapter(path, 0.0) for path in self.adapters),
        )
        sessions = SessionDirectory(self.directory / "sessions", 200 * 10**6)
        batches = BatchSettings(self.directory / "batches")
        settings = ServerSettings("soak", sessions=sessions, batches=batches)
        run_server(create_app(settings, lambda: GLM(self.model, options=options)), listener)


class Services:
    """A server at one port and, for some of its lives, a worker that computes its layers."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.life = 0
        self.faults = 0
        """How many faults began or ended; a request during which it changed may fail."""
        self.broken = False
        """Whether a fault is going on."""
        self._stack = ExitStack()
        self._started = time.monotonic()
        self._port, self._worker_port = _free_port(), _free_port()
        self._server: SpawnProcess | None = None
        self._worker: WorkerProcess | None = None

    @property
    def url(self) -> str:
        """The server's address, in all of its lives."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def seconds(self) -> float:
        """Time since the start."""
        return time.monotonic() - self._started

    @property
    def has_worker(self) -> bool:
        return self._worker is not None

    def start(self, *, with_worker: bool) -> None:
        """Start a server, and wait until it answers."""
        self._stack.close()
        self._worker = None
        if with_worker:
            self._lend()
        self.life += 1
        with socket.create_server(("127.0.0.1", self._port), backlog=256) as listener:
            lender = f"127.0.0.1:{self._worker_port}" if with_worker else None
            spawn = multiprocessing.get_context("spawn")
            self._server = spawn.Process(target=self.place.serve, args=(listener, lender))
            self._server.start()
        self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until the model is loaded."""
        until(lambda: _health(self.url) == "ready" or not self._running.is_alive(), START_SECONDS)
        if not self._running.is_alive():
            raise SystemExit(f"the server ended by itself, with {self._running.exitcode}")

    def kill_server(self) -> None:
        """Kill it with -9."""
        self._running.kill()
        self._running.join()

    def kill_worker(self) -> None:
        """Kill the worker with -9, wait until the server knows, and start another at its port."""
        assert self._worker is not None
        self._worker.kill()
        until(lambda: _health(self.url) == "degraded")
        self._stack.close()
        self._lend()

    def stop(self) -> int | None:
        """End the server as a user does; returns its exit code."""
        self._running.terminate()
        self._running.join(60)
        self._stack.close()
        return self._running.exitcode

    def close(self) -> None:
        """Leave no process."""
        if self._server is not None:
            self._server.kill()
        self._stack.close()

    def sample(self, *, rest: bool) -> Sample | None:
        """Measure the server; None while it does not answer."""
        process = psutil.Process(self._running.pid)
        try:
            gauges = read_gauges(self.url)
            return Sample(
                seconds=self.seconds,
                life=self.life,
                rest=rest,
                rss_mb=process.memory_info().rss / 1e6,
                files=process.num_fds(),
                threads=process.num_threads(),
                cells=gauges.get("cells_used", 0),
                host_tokens=gauges.get("host_tokens", 0),
            )
        except (httpx.TransportError, psutil.NoSuchProcess, psutil.AccessDenied):
            return None

    @property
    def _running(self) -> SpawnProcess:
        assert self._server is not None
        return self._server

    def _lend(self) -> None:
        self._worker = self._stack.enter_context(worker(port=self._worker_port, memory="1G"))


def read_gauges(url: str) -> dict[str, float]:
    """Read the gauges of /metrics by their names without the prefix."""
    lines = httpx.get(f"{url}/metrics", timeout=30).text.splitlines()
    named = [line.removeprefix("glm_gguf_").split() for line in lines if line.startswith("glm_gguf_")]
    return {words[0]: float(words[1]) for words in named if "{" not in words[0]}


def _health(url: str) -> str:
    try:
        return str(httpx.get(f"{url}/health", timeout=30).json()["status"])
    except httpx.TransportError:
        return "gone"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
