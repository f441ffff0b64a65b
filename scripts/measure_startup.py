#!/usr/bin/env python3
"""Measure what starting up costs in processor time, each in fresh interpreters: scripts/measure_startup.py [--repeat N]

Imports are given over an empty interpreter's start; `--help`, a first token of the bundled tiny model, and a server
that is ready, whole. Prints medians in milliseconds with the limits that they are held to, and exits with 1 where one
is passed. The first run of each writes bytecode and fills the page cache, and is not counted.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
CHECKPOINT = REPOSITORY / "glm_gguf" / "demo" / "checkpoint"
GLM_GGUF = [sys.executable, "-m", "glm_gguf"]
ALONE = ("--threads", "1")
"""Threads that wait for one another on a busy machine spend processor time."""
LIMITS_MS = {
    "import glm_gguf": 50.0,
    "glm-gguf --help": 150.0,
    "from glm_gguf import GLM": 500.0,
    "run, to the first token": 1000.0,
    "serve, until ready": 1500.0,
}
PATIENCE = 60.0
"""Seconds in which a server must be ready."""


def run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, cwd=REPOSITORY)


def serve(model: Path) -> None:
    """Start a server, wait until it is ready, and end it."""
    command = [*GLM_GGUF, "serve", str(model), "--port", "0", *ALONE]
    process = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        address = process.stderr.readline().split(" at ")[1].split(" ")[0]
        deadline = time.monotonic() + PATIENCE
        while not is_ready(f"{address}health"):
            if time.monotonic() > deadline:
                sys.exit("the server is not ready")
            time.sleep(0.02)
    finally:
        process.terminate()
        process.communicate()


def is_ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(address):
            return True
    except OSError:  # refused, or 503 while the model is loaded
        return False


def median_ms(action: Callable[[], None], repeat: int) -> float:
    """Return the processor time of the processes that an action starts."""
    action()
    return 1000 * statistics.median(seconds(action) for _ in range(repeat))


def seconds(action: Callable[[], None]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    action()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=7)
    repeat = parser.parse_args().repeat
    empty = median_ms(lambda: run([sys.executable, "-c", "pass"]), repeat)
    print(f"an empty interpreter starts in {empty:.0f} ms")
    with tempfile.TemporaryDirectory() as directory:
        model = Path(directory) / "tiny.gguf"
        run([*GLM_GGUF, "convert", str(CHECKPOINT), "--type", "Q8_0", "-o", str(model)])
        measured = {
            statement: median_ms(lambda text=statement: run([sys.executable, "-c", text]), repeat) - empty  # type: ignore[misc]
            for statement in ("import glm_gguf", "from glm_gguf import GLM")
        } | {
            "glm-gguf --help": median_ms(lambda: run([*GLM_GGUF, "--help"]), repeat),
            "run, to the first token": median_ms(
                lambda: run([*GLM_GGUF, "run", str(model), "hello", "--max-tokens", "1", *ALONE]), repeat
            ),
            "serve, until ready": median_ms(lambda: serve(model), repeat),
        }
    for name, limit in LIMITS_MS.items():
        print(f"{name:25} {measured[name]:7.1f} ms (limit {limit:.0f})")
    sys.exit(any(measured[name] > limit for name, limit in LIMITS_MS.items()))


if __name__ == "__main__":
    main()
