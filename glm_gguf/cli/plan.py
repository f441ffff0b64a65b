"""`glm-gguf plan`: what fits on this machine, before anything is loaded or converted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from glm_gguf.errors import GgufError, RequestError

if TYPE_CHECKING:
    from glm_gguf.gguf_file.parts import GgufParts
    from glm_gguf.llama.fit import Choice, Fit
    from glm_gguf.llama.load_plan import Machine

TYPES = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "IQ4_XS", "Q3_K_M", "Q2_K")
WITH_IMATRIX = ("IQ3_XXS", "IQ2_XS")
"""Types that need an importance matrix."""


@click.command(name="plan")
@click.argument("source")
@click.option(
    "--n-ctx",
    type=int,
    multiple=True,
    metavar="N",
    help="Context in tokens; may be repeated. Default: 4096, 8192, 32768 and 131072, up to the model's own.",
)
@click.option(
    *("--type", "types"),
    metavar="TYPE",
    multiple=True,
    help=f"File type of a checkpoint; may be repeated. Default: {', '.join(TYPES)}.",
)
@click.option("--imatrix", type=click.Path(path_type=Path), metavar="FILE", help="Importance matrix of a checkpoint.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object, sizes in bytes.")
def command(source: str, n_ctx: tuple[int, ...], types: tuple[str, ...], imatrix: Path | None, as_json: bool) -> None:
    """Show what fits on this machine: contexts of a GGUF, or file types and contexts of a checkpoint.

    SOURCE is what chat, run and serve take as FILE, or what convert takes as SOURCE. Headers are read, no weights.

    The rates of answers are estimates from the memory bandwidth, for a context that is half full. They are the most
    that decode reaches: it is slower where computing takes longer than reading.
    """
    from glm_gguf.cli.plan_view import FitReport, MachineFacts
    from glm_gguf.convert.source.hub.address import parse_address
    from glm_gguf.llama.engine_options import EngineOptions
    from glm_gguf.llama.load_plan import Machine

    machine = Machine.here(EngineOptions())
    is_checkpoint = parse_address(source) is not None or os.path.isdir(source)
    if is_checkpoint:
        choices = _of_checkpoint(source, n_ctx, types, imatrix, machine)
    else:
        choices = _of_file(source, n_ctx, types, imatrix, machine)
    report = FitReport(source, imatrix, MachineFacts.of(machine), choices)
    if as_json:
        click.echo(report.as_json())
    else:
        report.show()


def _of_file(
    source: str, n_ctx: Sequence[int], types: Sequence[str], imatrix: Path | None, machine: Machine
) -> tuple[Choice, ...]:
    """Return a choice a context of a GGUF."""
    from glm_gguf.llama.fit import Choice
    from glm_gguf.llama.model_file import ModelFile

    for name, given in (("type", types), ("imatrix", imatrix)):
        if given:
            what = f"{source!r} is no checkpoint directory"
            raise RequestError(what, field=name, fix="leave it out: the types of a GGUF are in the file")
    contents = ModelFile.open(source).contents
    if not contents.tensors:
        raise GgufError("the file holds no weights", path=source, fix="convert the model without --vocab-only")
    return tuple(Choice(None, fit) for fit in _fits(contents, n_ctx, machine))


def _of_checkpoint(
    source: str, n_ctx: Sequence[int], types: Sequence[str], imatrix: Path | None, machine: Machine
) -> tuple[Choice, ...]:
    """Return a choice a type and context of a checkpoint."""
    from glm_gguf.convert import ConvertOptions, TypeChoices, make_plans
    from glm_gguf.convert.planned_head import planned_heads
    from glm_gguf.convert.source.open_source import open_source
    from glm_gguf.gguf_file.parts import GgufParts
    from glm_gguf.llama.fit import Choice

    first, *also = types or (*TYPES, *(WITH_IMATRIX if imatrix else ()))
    with open_source(source) as opened:
        plans = make_plans(opened, ConvertOptions(types=TypeChoices(first, tuple(also), imatrix)))
    disk_free = shutil.disk_usage(Path()).free
    return tuple(
        Choice(plan.file_type.name, fit, disk_free)
        for plan, head in zip(plans, planned_heads(plans), strict=True)
        for fit in _fits(GgufParts((head,)), n_ctx, machine)
    )


def _fits(contents: GgufParts, n_ctx: Sequence[int], machine: Machine) -> list[Fit]:
    from glm_gguf.llama.engine_options import EngineOptions
    from glm_gguf.llama.fit import Fit, contexts

    options = EngineOptions()
    tried = contexts(contents, n_ctx)
    return [Fit.of(contents, replace(options, n_ctx=number), machine) for number in tried]
