"""llama-bench, llama.cpp's own program, measured on the same file, lengths and depths."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from glm_gguf.cli.bench_runs import Workload
    from glm_gguf.llama.load_plan import LoadPlan

PROGRAM: Final = "llama-bench"
Pair = tuple[float, float]
"""Tokens a second of a prompt and of an answer."""


class PeerError(Exception):
    """llama-bench failed, or wrote something else than it should."""


def installed() -> str | None:
    """Return the program, if it is on the PATH."""
    return shutil.which(PROGRAM)


def measure_peer(program: str, path: Path, work: Workload, plan: LoadPlan) -> Mapping[int, Pair]:
    """Return its rates by depth, of one sequence; raises PeerError."""
    keys, values = plan.options.cache_types
    words = {
        "-m": str(path),
        "-p": str(work.prompt_tokens),
        "-n": str(work.tokens),
        "-d": ",".join(map(str, work.depths)),
        "-r": str(work.repeat),
        "-t": str(plan.threads),
        "-ub": str(plan.batches.alone),
        "-ctk": str(keys),
        "-ctv": str(values),
        "-ngl": str(plan.offload.n_on_gpus),
        "-o": "json",
    }
    command = [program, *(word for pair in words.items() for word in pair)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        told = ran.stderr.strip().splitlines()[-1:] or ["it says nothing"]
        raise PeerError(f"{PROGRAM} ended with {ran.returncode}: {told[0]}")
    try:
        return read_rates(ran.stdout)
    except (ValueError, KeyError, TypeError) as error:
        raise PeerError(f"{PROGRAM} wrote something else than its JSON ({type(error).__name__}: {error})") from error


def read_rates(text: str) -> Mapping[int, Pair]:
    """Read its JSON, a list of tests: n_prompt or n_gen tokens behind n_depth others, and samples of the rate."""
    found: dict[int, dict[str, float]] = {}
    for test in json.loads(text):
        kind = "prompt" if test["n_prompt"] else "answer"
        found.setdefault(int(test.get("n_depth", 0)), {})[kind] = statistics.median(map(float, test["samples_ts"]))
    return {depth: (rates["prompt"], rates["answer"]) for depth, rates in found.items()}
