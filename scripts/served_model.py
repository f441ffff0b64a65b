"""`glm-gguf serve` as a process: its state, and completions of token ids."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx


@dataclass(frozen=True)
class ServedModel:
    """A running server."""

    url: str

    @property
    def health(self) -> str:
        """What /health says; `gone` where nobody answers."""
        try:
            return str(httpx.get(f"{self.url}/health").json()["status"])
        except httpx.TransportError:
            return "gone"

    def completion(self, prompt: Sequence[int]) -> str:
        """Return what follows a prompt at temperature 0, or the code of the error."""
        body = {"prompt": prompt, "max_tokens": 16, "temperature": 0}
        found = httpx.post(f"{self.url}/v1/completions", json=body, timeout=120).json()
        return str(found["choices"][0]["text"] if "choices" in found else found["error"]["code"])


@contextmanager
def served_model(model: Path, *options: str) -> Iterator[ServedModel]:
    """Serve a file on a free port."""
    command = [sys.executable, "-m", "glm_gguf", "serve", str(model), "--port", "0", *options]
    repository = Path(__file__).resolve().parent.parent
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=repository) as running:
        try:
            assert running.stderr is not None
            line = next(line for line in running.stderr if "127.0.0.1:" in line)
            threading.Thread(target=running.stderr.read, daemon=True).start()
            yield ServedModel(f"http://127.0.0.1:{line.split('127.0.0.1:')[1].split('/')[0]}")
        finally:
            running.kill()
