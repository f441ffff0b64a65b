"""`glm-gguf bench`: the rates of prefill and decode, measured through the API that applications use."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import click

from glm_gguf.chat.events import Finish
from glm_gguf.cli.grouped_help import GroupedCommand
from glm_gguf.cli.model_options import ModelChoice, model_options

if TYPE_CHECKING:
    from glm_gguf.model import GLM

SAMPLE_REPEATS = 8


@dataclass(frozen=True, slots=True)
class Timing:
    """One answer: tokens of prompt and answer, and seconds to the first and the last token."""

    prompt_tokens: int
    tokens: int
    first: float
    total: float


@dataclass(frozen=True, slots=True)
class Report:
    """Tokens a second: of one prompt (prefill), of one answer (decode), and of all clients' answers together."""

    clients: int
    prompt_rate: float
    answer_rate: float
    total_rate: float
    median_first: float
    """Seconds to the first token."""


@click.command(name="bench", cls=GroupedCommand)
@model_options
@click.option(
    "--prompt-tokens", type=click.IntRange(1), metavar="N", default=512, show_default=True, help="Length of a prompt."
)
@click.option(
    "--tokens", type=click.IntRange(2), metavar="N", default=128, show_default=True, help="Length of an answer."
)
@click.option(
    "--clients",
    type=click.IntRange(1),
    metavar="N",
    multiple=True,
    help="Answers at the same time; repeat the option to measure several numbers.",
)
@click.option("--repeat", type=click.IntRange(1), metavar="N", default=3, show_default=True, help="Answers per client.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def command(
    choice: ModelChoice, prompt_tokens: int, tokens: int, clients: tuple[int, ...], repeat: int, as_json: bool
) -> None:
    """Measure how fast the model in FILE reads prompts (prefill) and generates answers (decode).

    Every prompt begins differently, so nothing comes from the KV cache. No answer ends early.
    """
    if choice.sampling.max_tokens is not None:
        raise click.UsageError("--max-tokens has no effect here: --tokens is the length of the measured answers")
    choice.require_files()
    counts = clients or (1,)
    if choice.options.n_parallel < max(counts):
        choice = replace(choice, options=replace(choice.options, n_parallel=max(counts)))
    with choice.open(verbose=True) as glm:
        ask = _asker(glm, choice, prompt_tokens, tokens)
        click.echo("warming up …", err=True)
        ask(0)  # the first answer pays for pages and threads
        reports = []
        for count in counts:
            click.echo(f"measuring {count * repeat} answers, {count} at once …", err=True)
            reports.append(measure(ask, count, repeat))
    if as_json:
        click.echo(json.dumps([asdict(report) for report in reports], indent=2))
        return
    for report in reports:
        click.echo(
            f"{report.clients:3} at once: prompts {report.prompt_rate:8.1f} tokens/s, answers {report.answer_rate:7.1f}"
            f" each, {report.total_rate:7.1f} together, first token after {report.median_first:.2f} s"
        )


def measure(ask: Callable[[int], Timing], clients: int, repeat: int) -> Report:
    """Send `clients` requests at a time, `repeat` times each."""
    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        timings = list(pool.map(ask, range(1, clients * repeat + 1)))
    seconds = time.perf_counter() - start
    return Report(
        clients,
        statistics.median(timing.prompt_tokens / timing.first for timing in timings),
        statistics.median((timing.tokens - 1) / (timing.total - timing.first) for timing in timings),
        sum(timing.tokens for timing in timings) / seconds,
        statistics.median(timing.first for timing in timings),
    )


def _asker(glm: GLM, choice: ModelChoice, prompt_tokens: int, tokens: int) -> Callable[[int], Timing]:
    """Return a function that times one answer; each number gives a different prompt."""
    sampling = replace(choice.sampling, max_tokens=tokens, ignore_eos=True)
    unit = len(glm.tokenize(" and so on" * SAMPLE_REPEATS)) / SAMPLE_REPEATS
    filler = " and so on" * max(int(prompt_tokens / unit), 1)

    def ask(number: int) -> Timing:
        start = time.perf_counter()
        first = 0.0
        for event in glm.stream_completion(f"{number * 7919}{filler}", sampling):
            first = first or time.perf_counter() - start
            if isinstance(event, Finish):
                total = time.perf_counter() - start
                usage = event.usage
        return Timing(usage.prompt_tokens, usage.completion_tokens, first, total)

    return ask
