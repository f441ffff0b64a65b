#!/usr/bin/env python3
"""kill -9 a conversion at random moments, continue it, and compare the file with an undisturbed run's.

    scripts/soak_resume.py [--kills 50] [--seed 0] [--type IQ3_S] [--imatrix]

A conversion is killed until it ends by itself; then the next one begins, up to the given number of kills. Prints a
line a conversion; the exit status is 1 if a file differs.
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from checkpoints import Shape, write_checkpoint
from interruptions import start
from measure_memory import write_importance

SHAPE = Shape(hidden=512, ffn=1024, layers=6, heads=8, kv_heads=2, head_dim=64, vocab=1024)


def main() -> None:
    """Convert, kill, continue, compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--type", action="append", help="several times for several files", default=[])
    parser.add_argument("--imatrix", action="store_true", help="random importance")
    options = parser.parse_args()
    types = [argument for type_ in options.type or ["IQ3_S"] for argument in ("--type", type_)]
    moments = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="glm-gguf-resume-") as made:
        source, whole, out = write_checkpoint(Path(made) / "model", SHAPE), Path(made) / "whole", Path(made) / "out"
        if options.imatrix:
            types += ["--imatrix", str(write_importance(source, Path(made) / "imatrix.dat"))]
        whole.mkdir()
        out.mkdir()
        convert(start(source, whole, *types), None)  # it may compile kernels
        begun = time.monotonic()
        convert(start(source, whole, *types, "--force"), None)
        seconds = time.monotonic() - begun
        expected = {path.name: path.read_bytes() for path in whole.iterdir()}
        kills = conversions = 0
        while kills < options.kills:
            killed, said = 0, None
            while said is None and not complete(out, expected):
                said = convert(start(source, out, *types), moments.uniform(0, seconds))
                killed += said is None
            if not complete(out, expected) or (said and len(expected) < len(list(out.iterdir()))):
                raise SystemExit(f"left behind: {[path.name for path in out.iterdir()]}")
            resumed = int(next(iter(re.findall(r"resumed +(\d+) tensors", said or "")), 0))
            conversions, kills = conversions + 1, kills + killed
            print(f"{killed} kills, {resumed} tensors were there at the end, same bytes", flush=True)
            for path in out.iterdir():
                path.unlink()
    print(f"{kills} kills in {conversions} conversions: the same bytes as an undisturbed run")


def complete(out: Path, expected: dict[str, bytes]) -> bool:
    """Whether a file has its name; it must then be right, even if the process was killed at its end."""
    found = [path for path in out.iterdir() if path.name in expected]
    for path in found:
        if path.read_bytes() != expected[path.name]:
            raise SystemExit(f"{path.name} is another")
    return bool(found)


def convert(process: subprocess.Popen[str], seconds: float | None) -> str | None:
    """The output of a conversion that may take `seconds`; None if it was killed."""
    try:
        said = process.communicate(timeout=seconds)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return None
    if process.returncode:
        raise SystemExit(said)
    return said


if __name__ == "__main__":
    main()
