#!/usr/bin/env python3
"""Answer a batch by two Ray actors on this machine, kill one half-way, and count: every line once, in order.

    pip install 'glm-gguf[server,ray]'
    scripts/try_ray_batch.py [--requests 1400] [--actors 2] [--kills 1]

The exit status is 1 if a line is lost, doubled or out of order, or if there was no actor to kill.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from batch_runs import mixed_lines, read_lines, start_batch, write_lines, wrong_output

from glm_gguf.convert import ConvertOptions, TypeChoices, convert

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Start, kill, count."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=1400)
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--kills", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="glm-gguf-ray-") as made:
        model, out = Path(made) / "tiny.gguf", Path(made) / "out.jsonl"
        convert(ROOT / "glm_gguf" / "demo" / "checkpoint", model, ConvertOptions(types=TypeChoices(type="Q8_0")))
        lines = mixed_lines(options.requests)
        source, started = write_lines(Path(made) / "in.jsonl", lines), time.monotonic()
        process = start_batch(model, source, out, "--ray", "local", "--ray-actors", str(options.actors))
        killed = _kill_actors(process, out.with_name("out.jsonl.part"), options)
        told = process.communicate()[1]
        fault = wrong_output(lines, read_lines(out)) if out.exists() else f"no output: {told[-500:]}"
    print(told, end="")
    print(f"{len(lines)} requests, {killed} actors killed, {time.monotonic() - started:.0f} s: {fault or 'exact'}")
    sys.exit(fault is not None or killed != options.kills)


def _kill_actors(process: subprocess.Popen[str], part: Path, options: argparse.Namespace) -> int:
    """Kill an actor (-9) each time when another share of the results is there; return how many."""
    killed: list[int] = []
    while process.poll() is None and len(killed) < options.kills:
        done = part.read_bytes().count(b"\n") if part.exists() else 0
        actors = [one for one in _actors(process) if one.pid not in killed]
        if done * (options.kills + 1) > options.requests * (len(killed) + 1) and len(actors) > 1:
            print(f"{done} results are there: killing {actors[0].pid} of {[one.pid for one in actors]}", flush=True)
            actors[0].kill()
            killed.append(actors[0].pid)
        time.sleep(0.1)
    return len(killed)


def _actors(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the actors' processes, which carry their class in their title."""
    found = []
    for one in psutil.Process(process.pid).children(recursive=True):
        try:
            title = " ".join(one.cmdline())
        except psutil.Error:  # it ended meanwhile
            continue
        if title.startswith("ray::") and "BatchActor" in title:
            found.append(one)
    return found


if __name__ == "__main__":
    main()
