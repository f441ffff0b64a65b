"""Workers as processes of their own, on this machine."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from waiting import until

MEMORY = "200M"


@dataclass
class WorkerProcess:
    """A worker, and what it printed."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Where it listens."""
        return next(found[1] for line in self.lines if (found := re.match(r"worker at (\S+),", line)))

    @property
    def children(self) -> list[psutil.Process]:
        """Its sessions' processes."""
        return psutil.Process(self.process.pid).children()

    def kill(self) -> None:
        """Kill it, as a crash would."""
        self.process.kill()
        self.process.wait()

    def read(self) -> None:
        """Collect its lines until it ends."""
        assert self.process.stderr is not None
        self.lines.extend(line.rstrip("\n") for line in iter(self.process.stderr.readline, ""))


@contextmanager
def worker(
    *options: str, cache: Path | None = None, memory: str = MEMORY, prefix: Sequence[str] = (), port: int = 0
) -> Iterator[WorkerProcess]:
    """A worker of one thread; its command is put behind `prefix`."""
    kept = ["--no-cache"] if cache is None else ["--cache-dir", str(cache)]
    command = [*prefix, sys.executable, "-m", "glm_gguf", "worker", "--port", str(port), "--threads", "1"]
    command += ["--memory", memory, *kept, *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, bufsize=1) as process:
        found = WorkerProcess(process)
        reader = threading.Thread(target=found.read)
        reader.start()
        try:
            until(lambda: any("worker at" in line for line in found.lines) or process.poll() is not None)
            assert process.poll() is None, found.lines
            yield found
        finally:
            process.kill()
            reader.join()
