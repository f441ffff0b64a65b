"""llama-server as a peer to measure against: started on a file, asked for completions, ended."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil


@dataclass(frozen=True, slots=True)
class Completion:
    """What it wrote, in how many tokens, and in how many seconds behind the prompt."""

    text: str
    tokens: int
    seconds: float
    prefill_tokens: int
    """Tokens of the prompt that it computed."""
    first_seconds: float
    """Seconds to the first token."""
    drafted: int
    accepted: int
    ids: Sequence[int]
    """The tokens, where `return_tokens` asked for them."""


class LlamaServer:
    """A running llama-server; raises RuntimeError where it does not come up within two minutes."""

    def __init__(self, binary: Path, model: Path, threads: int, n_ctx: int, flags: Sequence[str] = ()) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        command = [binary, "-m", model, "-t", threads, "-np", 1, "-c", n_ctx, "-ngl", 0, "--port", self._port]
        arguments = [*map(str, command), "--no-ui", "--no-warmup", *flags]
        self._process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self) -> Self:
        end = time.monotonic() + 120
        while time.monotonic() < end and self._process.poll() is None:
            try:
                self._ask("GET", "/health")
            except (OSError, http.client.HTTPException):
                time.sleep(0.2)
            else:
                return self
        self._process.kill()
        raise RuntimeError("llama-server does not answer")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()

    def processor_seconds(self) -> float:
        """Return the processor time that it took so far."""
        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)

    def complete(self, prompt: str | Sequence[int], **options: Any) -> Completion:
        """Continue a text greedily; what the prompt begins with is taken from the cache."""
        answer = self._ask("POST", "/completion", {"prompt": prompt, "temperature": 0, "cache_prompt": True, **options})
        timings = answer["timings"]
        return Completion(
            answer["content"],
            timings["predicted_n"],
            timings["predicted_ms"] / 1e3,
            timings["prompt_n"],
            timings["prompt_ms"] / 1e3,
            timings.get("draft_n", 0),
            timings.get("draft_n_accepted", 0),
            answer["tokens"],
        )

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=3600)
        connection.request(method, path, None if body is None else json.dumps(body))
        response = connection.getresponse()
        text = response.read()
        if response.status != 200:
            raise http.client.HTTPException(f"{response.status}: {text[:300]!r}")
        return json.loads(text)
