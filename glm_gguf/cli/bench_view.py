"""The rates that `bench` measured, as a table and as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from glm_gguf.cli.bench_runs import Rates, Workload
from glm_gguf.cli.llama_bench import Pair

WIDE = 200
"""Columns of a table in a pipe or file."""


def print_table(found: Sequence[Rates], peer: Mapping[int, Pair]) -> None:
    """Print a row for each depth and number of sequences."""
    several = any(rates.clients > 1 for rates in found)
    names = ["depth", "at once", "prompt/s", *(["together"] if several else []), "first token"]
    names += ["answer/s", *(["together"] if several else []), *(["llama-bench prompt/s", "answer/s"] if peer else [])]
    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for rates in found:
        row = [f"{rates.depth:,}", str(rates.clients), rate_text(rates.prompt_rate)]
        row += [rate_text(rates.prompts_rate)] if several else []
        row += [f"{rates.first_token:.2f} s", rate_text(rates.answer_rate)]
        row += [rate_text(rates.answers_rate)] if several else []
        if peer:
            row += map(rate_text, peer[rates.depth]) if rates.clients == 1 and rates.depth in peer else ("", "")
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else WIDE).print(table)


def as_json(found: Sequence[Rates], work: Workload, peer: Mapping[int, Pair]) -> str:
    """Return everything as one JSON object."""
    told = {
        "prompt_tokens": work.prompt_tokens,
        "tokens": work.tokens,
        "repeat": work.repeat,
        "rates": [asdict(rates) for rates in found],
        "llama_bench": [
            {"depth": depth, "prompt_rate": prompt, "answer_rate": answer} for depth, (prompt, answer) in peer.items()
        ],
    }
    return json.dumps(told, indent=2, allow_nan=False)


def rate_text(rate: float) -> str:
    """Write tokens a second with what is worth reading."""
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}" if rate >= 10 else f"{rate:.2g}"
