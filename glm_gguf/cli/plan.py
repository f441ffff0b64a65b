"""`glm-gguf plan`: what fits on this machine and how fast it would be, before anything is loaded or converted."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from glm_gguf.cli import imatrix_argument
from glm_gguf.cli.completed_values import file_types, model_names
from glm_gguf.cli.grouped_help import GroupedCommand
from glm_gguf.cli.load_options import LoadChoice, load_options
from glm_gguf.cli.model_argument import DEFAULT_MODEL, given_or_default
from glm_gguf.errors import GgufError, RequestError
from glm_gguf.store.model_address import model_address

if TYPE_CHECKING:
    from glm_gguf.cli.plan_view import MachineFacts
    from glm_gguf.gguf_file.parts import GgufParts
    from glm_gguf.llama.fit import Choice, Fit
    from glm_gguf.llama.kernel_rates import KernelRates

TYPES = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "IQ4_XS", "Q3_K_M", "Q2_K")
WITH_IMATRIX = ("IQ3_XXS", "IQ2_XS")
"""Types that need an importance matrix."""


@click.command(name="plan", cls=GroupedCommand)
@click.argument("source", required=False, shell_complete=model_names)
@click.option(
    "--n-ctx",
    type=int,
    multiple=True,
    metavar="N",
    help="Context in tokens; may be repeated. Default: 4096, 8192, 32768, 131072, the model's own, and what fits.",
)
@click.option(
    *("--type", "types"),
    metavar="TYPE",
    multiple=True,
    shell_complete=file_types,
    help=f"File type of a checkpoint; may be repeated. Default: {', '.join(TYPES)}.",
)
@click.option("--imatrix", type=click.Path(), metavar="FILE", help=imatrix_argument.HELP)
@click.option("--pad-ffn", is_flag=True, help="Plan a checkpoint's files as convert --pad-ffn on makes them.")
@click.option("--no-rates", is_flag=True, help="Time nothing: tell sizes alone, at once.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object, sizes in bytes.")
@load_options()
def command(
    source: str | None,
    n_ctx: tuple[int, ...],
    types: tuple[str, ...],
    imatrix: str | None,
    pad_ffn: bool,
    no_rates: bool,
    as_json: bool,
    choice: LoadChoice,
) -> None:
    """Show what fits on this machine: contexts of a GGUF, or file types and contexts of a checkpoint.

    SOURCE is what chat, run and serve take as FILE, or what convert takes as SOURCE. Headers are read, no weights. Of a
    model on a hub nothing else is fetched. Without SOURCE the model of the configuration is meant.

    The rates are those of a context that is half full. llama.cpp computes a few layers of the model's shapes and types
    for them, a second or two for each type.
    """
    from glm_gguf.cli.plan_source import planned_contents
    from glm_gguf.cli.plan_view import FitReport, MachineFacts
    from glm_gguf.llama.lent_devices import borrowed
    from glm_gguf.llama.load_plan import Machine

    with borrowed(choice.options.workers) as workers:
        machine = Machine.here(choice.options, workers)
        planner = Planner(choice, n_ctx, MachineFacts.of(machine, choice.options.threads), timed=not no_rates)
        source = given_or_default(DEFAULT_MODEL if source is None else source)
        contents = planned_contents(source)
        if contents is None:
            choices = planner.of_checkpoint(source, types, imatrix, pad_ffn=pad_ffn)
        else:
            choices = planner.of_file(source, contents, {"type": types, "imatrix": imatrix, "pad_ffn": pad_ffn})
    report = FitReport(source, imatrix, planner.facts, choices, tuple(choice.words()), padded=pad_ffn)
    if as_json:
        click.echo(report.as_json())
    else:
        report.show()


@dataclass(frozen=True, slots=True)
class Planner:
    """What is asked of every file: options, contexts, a machine, and whether llama.cpp is timed."""

    choice: LoadChoice
    n_ctx: Sequence[int]
    facts: MachineFacts
    timed: bool

    def of_file(self, source: str, contents: GgufParts, of_checkpoints: Mapping[str, object]) -> tuple[Choice, ...]:
        """Return a choice a context of a GGUF; raises RequestError where options of checkpoints were given."""
        from glm_gguf.cli.plan_source import planned_address, written_to
        from glm_gguf.llama.fit import Choice

        for name, given in of_checkpoints.items():
            if given:
                what, fix = f"{source!r} is no checkpoint", "leave it out: the types of a GGUF are in the file"
                address = model_address(source)
                if isinstance(given, tuple) and address is not None:
                    fix = f"plan {replace(address, type=given[0])} plans another type"
                raise RequestError(what, field=name, fix=fix)
        if not contents.tensors:
            raise GgufError("the file holds no weights", path=source, fix="convert the model without --vocab-only")
        disk_free = None if planned_address(source) is None else shutil.disk_usage(written_to(source, None)).free
        return tuple(Choice(None, fit, disk_free) for fits in self._fits([contents]) for fit in fits)

    def of_checkpoint(
        self, source: str, types: Sequence[str], imatrix: str | None, *, pad_ffn: bool
    ) -> tuple[Choice, ...]:
        """Return a choice a type and context of a checkpoint."""
        from glm_gguf.cli.plan_source import planned_address, written_to
        from glm_gguf.convert import ConvertOptions, TypeChoices, make_plans
        from glm_gguf.convert.planned_head import planned_heads
        from glm_gguf.convert.source.open_source import open_source
        from glm_gguf.gguf_file.parts import GgufParts
        from glm_gguf.llama.fit import Choice

        address = planned_address(source)
        if address is not None and address.type is not None:
            types = types or (address.type,)
        first, *also = types or (*TYPES, *(WITH_IMATRIX if imatrix else ()))
        with open_source(source if address is None else address.source) as opened:
            matrix = None if imatrix is None else imatrix_argument.imatrix_path(imatrix)
            choices = TypeChoices(first, tuple(also), matrix, pad_ffn="on" if pad_ffn else "auto")
            plans = make_plans(opened, ConvertOptions(types=choices))
        disk_free = shutil.disk_usage(written_to(source, imatrix)).free
        found = self._fits([GgufParts((head,)) for head in planned_heads(plans)])
        return tuple(
            Choice(plan.file_type.name, fit, disk_free) for plan, fits in zip(plans, found, strict=True) for fit in fits
        )

    def _fits(self, files: Sequence[GgufParts]) -> list[list[Fit]]:
        """Return the fits of each file, one a context."""
        from glm_gguf.llama.fit import Fit, contexts

        options, machine = self.choice.options, self.facts.machine
        tried = [contexts(contents, self.n_ctx, options, machine) for contents in files]
        plain = [
            [Fit.of(contents, replace(options, n_ctx=number), machine) for number in numbers]
            for contents, numbers in zip(files, tried, strict=True)
        ]
        return [
            [replace(fit, rates=rates) for fit in fits] for fits, rates in zip(plain, self._rates(files), strict=True)
        ]

    def _rates(self, files: Sequence[GgufParts]) -> list[KernelRates | None]:
        """Time llama.cpp on the layers of each file; the attention is that of all."""
        from glm_gguf.llama.kernel_rates import KernelTimer
        from glm_gguf.llama.load_plan import LoadPlan

        if not self.timed:
            return [None for _ in files]
        options = self.choice.options
        timers = [KernelTimer(contents, LoadPlan.estimate(contents, options, self.facts.machine)) for contents in files]
        attention, disturbed = timers[0].attention()
        bandwidth = self.facts.bandwidth
        return [timer.rates_with(attention, bandwidth, disturbed=disturbed) for timer in timers]
