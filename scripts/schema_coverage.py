"""How many JSON schemas we enforce, compared with llama-cpp-python: python scripts/schema_coverage.py DIR [--json].

DIR holds files {"schema": …, "tests": [{"data": …, "valid": bool}]}. A schema passes if it compiles, every valid
instance is accepted and every invalid one refused. The grammar reads the instance's text byte by byte; on our side the
check of the finished value follows unless the grammar is exact.

JSON objects have no order, grammars have one. An instance counts as accepted if the grammar takes it in some order of
its keys and some spelling of its numbers (1.0 is 1): a model can then write it. An invalid instance must be refused in
every order tried: 20,000 pieces of text, 1,000 if the check refuses it as well. Formats are assertions.
Each side runs in its own process, because llama.cpp's grammars can crash it: a file may take 20 s and 4 GiB.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.schema_sides import SIDES, vocabulary_file

TIMEOUT = 20.0
"""Seconds a file may take before its process is ended."""
MOST_MEMORY = 4 << 30
"""Bytes of memory a process may take; llama.cpp's ambiguous grammars would take all of it."""
MOST_SLOW = 5
"""Number of slowest files in the report."""


class Worker:
    """A process that answers for one side, file by file; it is restarted if it dies."""

    def __init__(self, side: str, vocabulary: Path) -> None:
        self._command = [sys.executable, __file__, "--side", side, "--vocabulary", str(vocabulary), "."]
        self._process: subprocess.Popen[str] | None = None
        self._lines: Queue[str] = Queue()

    def ask(self, path: Path) -> dict[str, Any]:
        """Return the outcome for a file; `error` if the process crashed or took too long."""
        if self._process is None:
            self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        start = time.monotonic()
        try:
            print(path, file=self._process.stdin, flush=True)
            return json.loads(self._lines.get(timeout=TIMEOUT)) | {"seconds": time.monotonic() - start}
        except (Empty, BrokenPipeError, ValueError):
            crashed = self._process.poll() is not None or time.monotonic() - start < TIMEOUT
            self.close()
            error = "crashed" if crashed else "took too long"
            return {"compiled": False, "passed": False, "error": error, "seconds": time.monotonic() - start}

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._lines = Queue()
        Thread(target=_pump, args=(self._process, self._lines), daemon=True).start()


def _pump(process: subprocess.Popen[str], lines: Queue[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put("")  # the process ended


def outcomes(side: str, paths: list[Path], vocabulary: Path, jobs: int) -> list[dict[str, Any]]:
    """Ask about every file, `jobs` at a time; in order."""

    def run(share: list[Path]) -> list[dict[str, Any]]:
        worker = Worker(side, vocabulary)
        try:
            return [worker.ask(path) for path in share]
        finally:
            worker.close()

    with ThreadPoolExecutor(jobs) as pool:
        shares = list(pool.map(run, [paths[number::jobs] for number in range(jobs)]))
    return [shares[index % jobs][index // jobs] for index in range(len(paths))]


def serve(side: str, vocabulary: str) -> None:
    """Answer for one side: read a path a line, write an outcome a line."""
    judge = SIDES[side](vocabulary)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    for line in sys.stdin:
        case = json.loads(Path(line.strip()).read_bytes())
        outcome = judge(case["schema"], case["tests"])
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(json.dumps(outcome | {"memory_mib": memory}), flush=True)


def report(paths: Iterable[Path], ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> dict[str, Any]:
    """Sum up the outcomes."""
    names = [str(path) for path in paths]
    failing = [
        {"file": name, "why": one.get("error") or one.get("wrong")}
        for name, one in zip(names, ours, strict=True)
        if not one["passed"]
    ]
    return {
        "schemas": len(names),
        "passed": sum(one["passed"] for one in ours),
        "compiled": sum(one["compiled"] for one in ours),
        "exact": sum(one.get("exact", False) for one in ours),
        "crashed": _count(ours, "crashed"),
        "took_too_long": _count(ours, "took too long"),
        "as_written": sum(one.get("as_written", False) for one in ours),
        "seconds": round(sum(one["seconds"] for one in ours), 2),
        **_set_up(ours, ""),
        "slowest": [
            {"file": name, "seconds": round(one["seconds"], 2)}
            for name, one in sorted(zip(names, ours, strict=True), key=lambda pair: -pair[1]["seconds"])[:MOST_SLOW]
        ],
        "memory_mib": max((one.get("memory_mib", 0) for one in ours), default=0),
        "llama_cpp_passed": sum(one["passed"] for one in theirs),
        "llama_cpp_compiled": sum(one["compiled"] for one in theirs),
        "llama_cpp_crashed": _count(theirs, "crashed"),
        "llama_cpp_took_too_long": _count(theirs, "took too long"),
        "llama_cpp_seconds": round(sum(one["seconds"] for one in theirs), 2),
        **_set_up(theirs, "llama_cpp_"),
        "failing": failing,
    }


def _count(outcomes: list[dict[str, Any]], error: str) -> int:
    return sum(one.get("error") == error for one in outcomes)


def _set_up(outcomes: list[dict[str, Any]], prefix: str) -> dict[str, float]:
    """Return the seconds until a schema is compiled: median and maximum."""
    seconds = [one["set_up"] for one in outcomes if "set_up" in one] or [0.0]
    return {
        f"{prefix}set_up_median": round(statistics.median(seconds), 4),
        f"{prefix}set_up_worst": round(max(seconds), 4),
    }


def lines(figures: dict[str, Any]) -> Iterator[str]:
    """Write the figures as lines of text."""
    total = figures["schemas"] or 1
    yield f"{figures['schemas']} schemas"
    for label, key in (("ours", "passed"), ("llama-cpp-python", "llama_cpp_passed")):
        prefix = key.removesuffix("passed")
        yield (
            f"{label:>18}: {figures[key]} passed ({figures[key] / total:.1%}), "
            f"{figures[prefix + 'compiled']} compiled, "
            f"{figures[prefix + 'crashed']} crashed, {figures[prefix + 'took_too_long']} took too long, "
            f"{figures[prefix + 'seconds']} s; set up in {figures[prefix + 'set_up_median']} s, "
            f"the worst in {figures[prefix + 'set_up_worst']} s"
        )
    yield f"of ours {figures['exact']} by the grammar alone; {figures['as_written']} with every instance as written"
    yield f"of ours the most memory of a process was {figures['memory_mib']} MiB; the slowest:"
    for slow in figures["slowest"]:
        yield f"  {slow['file']}: {slow['seconds']} s"
    yield f"{len(figures['failing'])} failed:"
    for failure in figures["failing"]:
        yield f"  {failure['file']}: {str(failure['why'])[:160]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, help="folder of files, searched with its subfolders")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="files looked at at once")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--vocabulary", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        serve(options.side, options.vocabulary)
        return
    paths = sorted(options.directory.rglob("*.json"))
    with tempfile.TemporaryDirectory() as directory:
        vocabulary = vocabulary_file(Path(directory))
        ours = outcomes("ours", paths, vocabulary, options.jobs)
        theirs = outcomes("llama_cpp", paths, vocabulary, options.jobs)
    figures = report(paths, ours, theirs)
    print(json.dumps(figures, ensure_ascii=False, indent=1) if options.json else "\n".join(lines(figures)))


if __name__ == "__main__":
    main()
