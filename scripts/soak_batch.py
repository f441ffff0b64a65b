#!/usr/bin/env python3
"""kill -9 a batch at random moments and go on until it ends; then count the tokens of a shared prompt that it computes.

    scripts/soak_batch.py [--kills 50] [--requests 700] [--shared 10000] [--words 1000] [--seed 0]

A batch of all four APIs is killed until it ends by itself; then the next one begins, up to the given number of kills.
Each output must have every line once, in the order of its input. Then one batch has a shared system message. The exit
status is 1 if an output is wrong, or if more than 1.02 times the distinct tokens were computed.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from batch_runs import (
    computed_tokens,
    distinct_tokens,
    kill_after,
    mixed_lines,
    read_lines,
    shared_lines,
    start_batch,
    write_lines,
    wrong_output,
)

from glm_gguf import GLM
from glm_gguf.convert import ConvertOptions, TypeChoices, convert

ROOT = Path(__file__).resolve().parent.parent
MOST_SHARE = 1.02


def main() -> None:
    """Kill, go on, compare; then measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--requests", type=int, default=700)
    parser.add_argument("--shared", type=int, default=10_000, help="requests with a shared prompt")
    parser.add_argument("--words", type=int, default=1000, help="of the shared prompt")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="glm-gguf-batch-") as made:
        model = Path(made) / "tiny.gguf"
        convert(ROOT / "glm_gguf" / "demo" / "checkpoint", model, ConvertOptions(types=TypeChoices(type="Q8_0")))
        wrong = _killed(model, Path(made), options) if options.kills else False
        wrong |= _shared(model, Path(made), options) if options.shared else False
    sys.exit(wrong)


def _killed(model: Path, directory: Path, options: argparse.Namespace) -> bool:
    """Kill batches until there were enough kills; return whether an output is wrong."""
    moments, kills, batches, wrong = random.Random(options.seed), 0, 0, False
    while kills < options.kills:
        lines = mixed_lines(options.requests, seed=batches)
        source, out = write_lines(directory / "in.jsonl", lines), directory / "out.jsonl"
        own, started = 0, time.monotonic()
        while True:
            process = start_batch(model, source, out)
            limit = moments.uniform(0.2, 6) if kills < options.kills else 600
            if not kill_after(process, limit):
                break
            kills, own = kills + 1, own + 1
            if out.exists():  # killed between the rename and the end
                break
        fault = wrong_output(lines, read_lines(out))
        wrong |= fault is not None
        batches += 1
        seconds = time.monotonic() - started
        print(f"batch {batches}: {len(lines)} requests, {own} kills, {seconds:.0f} s: {fault or 'exact'}", flush=True)
        out.unlink()
    return wrong


def _shared(model: Path, directory: Path, options: argparse.Namespace) -> bool:
    """Answer prompts with a shared beginning; return whether too many tokens were computed."""
    lines = shared_lines(options.shared, options.words)
    source, out = write_lines(directory / "in.jsonl", lines), directory / "out.jsonl"
    started = time.monotonic()
    process = start_batch(model, source, out)
    process.communicate()
    seconds, results = time.monotonic() - started, read_lines(out)
    with GLM(model, threads=1) as glm:
        distinct = distinct_tokens(glm, lines)
        shared = len(glm.prompt_ids(lines[0]["body"]["messages"][:1]))
    computed = computed_tokens(results)
    share, fault = computed / distinct, wrong_output(lines, results)
    print(
        f"{len(lines)} requests with {shared} shared tokens in {seconds:.0f} s: {computed:,} tokens computed, "
        f"{distinct:,} distinct, {share:.4f} times; {fault or 'exact'}"
    )
    return fault is not None or share > MOST_SHARE


if __name__ == "__main__":
    main()
