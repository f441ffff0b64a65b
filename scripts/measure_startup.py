#!/usr/bin/env python3
"""Measure what starting up costs: `import glm_gguf`, and `glm-gguf --help`, each in a fresh interpreter.

Prints medians in milliseconds over an empty interpreter's start for the import, and whole for the command, with the
limits that they are held to; exits with 1 where one is passed.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

LIMITS_MS = {"import glm_gguf": 50.0, "glm-gguf --help": 150.0}


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def median_ms(command: list[str], repeat: int) -> float:
    seconds(command)  # the first run fills the page cache and writes bytecode
    return 1000 * statistics.median(seconds(command) for _ in range(repeat))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=15)
    repeat = parser.parse_args().repeat
    empty = median_ms([sys.executable, "-c", "pass"], repeat)
    measured = {
        "import glm_gguf": median_ms([sys.executable, "-c", "import glm_gguf"], repeat) - empty,
        "glm-gguf --help": median_ms([sys.executable, "-m", "glm_gguf", "--help"], repeat),
    }
    print(f"an empty interpreter starts in {empty:.0f} ms")
    for name, value in measured.items():
        print(f"{name:16} {value:6.1f} ms (limit {LIMITS_MS[name]:.0f})")
    sys.exit(any(value > LIMITS_MS[name] for name, value in measured.items()))


if __name__ == "__main__":
    main()
