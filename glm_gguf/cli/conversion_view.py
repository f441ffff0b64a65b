"""Show a conversion: its plan as a table, its progress as a bar or as lines of a log."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from glm_gguf.architectures import CHATGLM
from glm_gguf.cli.printable import print_line, say
from glm_gguf.cli.size_text import size_text
from glm_gguf.convert import Conversion, Output, Plan, TensorPlan
from glm_gguf.convert.padded_feed_forward import padded_width
from glm_gguf.convert.planned_head import planned_heads
from glm_gguf.convert.recipe.recipe import Recipe
from glm_gguf.gguf_file.contents import MERGED_ADAPTERS, architecture
from glm_gguf.gguf_file.parts import GgufParts
from glm_gguf.gguf_file.values import text, texts
from glm_gguf.llama.engine_options import DEFAULT_CONTEXT
from glm_gguf.llama.memory_need import memory_to_run

LICENCE_OF_2024 = "glm-4"  # license_name on the cards of GLM-4-9B and its relatives
LICENCE_ASKS = 'a copy goes with the file, commercial users register, products show "Built with glm-4"'
LINE_SECONDS = 10.0  # between two lines of progress


def print_plan(conversion: Conversion) -> None:
    """Print the plan of every type to stdout: a line per tensor, then totals."""
    for output in conversion.outputs:
        table = Table("tensor", "shape", "from", "type", box=None, pad_edge=False)
        table.add_column("bytes", justify="right")
        for tensor in output.plan.tensors:
            shape = " × ".join(map(str, tensor.shape))
            table.add_row(tensor.name, shape, tensor.source.stored.dtype, tensor.type.name, f"{tensor.n_bytes:,}")
        # a table in a pipe or file is as wide as it needs to be
        Console(width=None if sys.stdout.isatty() else 200, markup=False).print(table)
        for line in (*model_lines(output.plan), *output_lines(output)):
            print_line(line)


def print_summary(conversion: Conversion) -> None:
    """Print the plan's totals to stderr."""
    for line in model_lines(conversion.plans[0]):
        say(line)
    for output in conversion.outputs:
        for line in output_lines(output):
            say(line)


def model_lines(plan: Plan) -> Iterator[str]:
    """Yield variant and size of the model, and what differs from its config.json."""
    yield f"variant      {plan.variant}, {plan.checkpoint.config.n_layers} layers, {plan.n_params:,} weights"
    if plan.checkpoint.head_kept:
        yield "head         kept: it differs from the embedding, to which config.json ties it"
    licence, name = (text(plan.metadata, key) for key in ("general.license", "general.license.name"))
    if name == LICENCE_OF_2024:
        yield f"licence      {name}, not MIT: {LICENCE_ASKS}"
    elif licence is None and architecture(plan.metadata) == CHATGLM:
        yield f"licence      not stated by the checkpoint; GLM-4-9B's of 2024 is not MIT: {LICENCE_ASKS}"
    for adapter in texts(plan.metadata, MERGED_ADAPTERS) or ():
        yield f"adapter      {adapter}"


def output_lines(output: Output) -> Iterator[str]:
    """Yield types, size and files of one output."""
    plan = output.plan
    yield f"type         {plan.file_type.name}: {_types(plan) or 'vocabulary only'}"
    yield f"size         {size_text(plan.n_bytes)}, {plan.bits_per_weight:.2f} bits per weight{_to_run(plan)}"
    if plan.recipe is not None:
        yield from recipe_lines(plan, plan.recipe)
    if plan.padded_from is not None:
        yield f"feed-forward {plan.padded_from} columns, {padded_width(plan.padded_from)} with zeros"
    for path in output.paths:
        yield f"output       {path}"


def recipe_lines(plan: Plan, recipe: Recipe) -> Iterator[str]:
    """Yield how the types were chosen, and those of each kind of matrix."""
    expected = "" if recipe.error is None else f", error {recipe.error:.4g}"
    yield f"recipe       {recipe.origin}{expected}"
    kinds: dict[str, Counter[str]] = {}
    for tensor in plan.tensors:
        if tensor.name in recipe.types:
            kind = tensor.name.split(".")[-2]
            kinds.setdefault(kind, Counter())[tensor.type.name] += 1
    for kind, counts in kinds.items():
        yield f"             {kind}: {', '.join(f'{count} {name}' for name, count in counts.most_common())}"


def _to_run(plan: Plan) -> str:
    """Return the main memory that the file needs where no GPU computes, as text."""
    if not plan.tensors:
        return ""
    contents = GgufParts(planned_heads((plan,)))
    context = min(DEFAULT_CONTEXT, plan.checkpoint.config.max_position)
    return f"; needs about {size_text(memory_to_run(contents, context))} of memory to run with {context:,} tokens"


def _types(plan: Plan) -> str:
    counts = Counter(tensor.type.name for tensor in plan.tensors)
    return ", ".join(f"{count} {name}" for name, count in counts.most_common())


def resumed_line(tensors: Sequence[TensorPlan]) -> str:
    """Return how much an interrupted run had written, as text."""
    return f"resumed      {len(tensors)} tensors, {size_text(_n_bytes(tensors))}, are already written"


def _n_bytes(tensors: Sequence[TensorPlan]) -> int:
    return sum(tensor.n_bytes for tensor in tensors)


class Lines:
    """Progress as lines, for logs: one as a shard begins, one every ten seconds, one at the end."""

    def __init__(self, plans: Sequence[Plan]) -> None:
        self._shards = plans[0].checkpoint.shard_names
        self._total, self._done = sum(plan.n_bytes for plan in plans), 0
        self._current, self._told = "", time.monotonic()

    def resumed(self, tensors: Sequence[TensorPlan]) -> None:
        """Print how much is already written."""
        self._done = _n_bytes(tensors)
        if tensors:
            click.echo(resumed_line(tensors), err=True)

    def started(self, tensor: TensorPlan) -> None:
        """Print the line of a shard that begins."""
        name = tensor.source.stored.shard.name
        if name != self._current:
            self._current = name
            self._tell()

    def wrote(self, n_bytes: int) -> None:
        """Print a line where the last is ten seconds old, or all is written."""
        self._done += n_bytes
        if self._done == self._total or time.monotonic() - self._told >= LINE_SECONDS:
            self._tell()

    def _tell(self) -> None:
        self._told, number = time.monotonic(), self._shards.index(self._current) + 1
        done = f"{size_text(self._done)} of {size_text(self._total)} written"
        say(f"[{number}/{len(self._shards)}] {self._current}, {done}")


class Bar:
    """Progress as a bar with tensor, bytes, speed and time left; a second one counts bytes from a hub."""

    def __init__(self, bar: Progress, plans: Sequence[Plan]) -> None:
        self._bar, self._shards = bar, plans[0].checkpoint.source.shards
        self._task = bar.add_task("", total=sum(plan.n_bytes for plan in plans))
        self._fetching: TaskID | None = None
        if not self._shards.trusted:
            n_bytes = sum(self._shards.size(name) or 0 for name in plans[0].checkpoint.shard_names)
            self._fetching = bar.add_task("from the hub", total=n_bytes)

    def resumed(self, tensors: Sequence[TensorPlan]) -> None:
        """Begin where the interrupted run ended."""
        self._bar.update(self._task, completed=_n_bytes(tensors))
        if tensors:
            self._bar.console.print(resumed_line(tensors), highlight=False)  # above the bar

    def started(self, tensor: TensorPlan) -> None:
        """Name the tensor beside the bar."""
        self._bar.update(self._task, description=f"{tensor.name.removesuffix('.weight')} {tensor.type.name}")

    def wrote(self, n_bytes: int) -> None:
        """Move the bar."""
        self._bar.advance(self._task, n_bytes)
        if self._fetching is not None:
            self._bar.update(self._fetching, completed=self._shards.streamed_bytes)


@contextmanager
def watch(conversion: Conversion) -> Iterator[Lines | Bar]:
    """Yield a bar where stderr is a terminal, else lines."""
    if not sys.stderr.isatty():
        yield Lines(conversion.plans)
        return
    columns = (
        TextColumn("{task.description:<31}"),  # the longest name and its type; all of it fits 80 columns
        *(BarColumn(10), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield Bar(bar, conversion.plans)
