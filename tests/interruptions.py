"""Interrupted conversions, and the files that they leave."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from glm_gguf.convert import Conversion, ConvertOptions, TensorPlan
from glm_gguf.convert.source.gguf_source import GgufSource
from glm_gguf.convert.source.source import Source
from glm_gguf.convert.writing.write import Progress, Silent, write

DEADLINE = 120.0  # seconds until a process must have reached what a test waits for


class Stops(Silent):
    """Progress that raises an error after some tensors."""

    def __init__(self, error: BaseException, after: int) -> None:
        self._error, self._left = error, after

    def started(self, tensor: TensorPlan) -> None:
        self._left -= 1
        if self._left < 0:
            raise self._error


class Counts(Silent):
    """Progress that records which tensors were resumed and which were converted."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.made: list[str] = []

    def resumed(self, tensors: list[TensorPlan]) -> None:  # type: ignore[override]
        self.found += [tensor.name for tensor in tensors]

    def started(self, tensor: TensorPlan) -> None:
        self.made.append(tensor.name)


def _heed_signals() -> None:
    """Heed the signals that a test run in the background (nohup, &) and its children ignore."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def write_recording(
    source: Path | Source | GgufSource,
    out: Path,
    options: ConvertOptions,
    progress: Progress,
    seconds: float = 0.0,
) -> None:
    """Convert, and record complete tensors every `seconds`: by default each at once."""
    opened = Source.local(source) if isinstance(source, Path) else source
    conversion = Conversion.prepare(opened, out, options)
    write(conversion.layouts(), opened.shards, 1, progress, seconds)


def start(source: Path, out: Path, *arguments: object) -> subprocess.Popen[str]:
    """Start `glm-gguf convert` as a process that heeds Ctrl-C; a shell's background job ignores it."""
    return subprocess.Popen(
        [*(sys.executable, "-m", "glm_gguf", "convert", source, "-o", out), *map(str, arguments)],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        preexec_fn=_heed_signals,
    )


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Return once the file has bytes; fails if the process ends before."""
    end = time.monotonic() + DEADLINE
    while not (path.exists() and path.stat().st_size):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end, f"no {path.name} appeared"
        time.sleep(0.01)
