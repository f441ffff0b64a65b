"""`glm-gguf bench`: the rates of prefill and decode by depth and by number of sequences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from glm_gguf.cli.completed_values import model_names
from glm_gguf.cli.grouped_help import GroupedCommand
from glm_gguf.cli.load_options import LoadChoice, load_options
from glm_gguf.cli.printable import say
from glm_gguf.errors import RequestError

if TYPE_CHECKING:
    from glm_gguf.cli.bench_runs import Rates, Workload
    from glm_gguf.cli.llama_bench import Pair

MOST_CLIENTS = 64  # of EngineOptions.n_parallel


@click.command(name="bench", cls=GroupedCommand)
@click.argument("file", shell_complete=model_names, required=False)
@click.option(
    "--prompt-tokens", type=click.IntRange(1), metavar="N", default=512, show_default=True, help="Length of a prompt."
)
@click.option(
    "--tokens", type=click.IntRange(1), metavar="N", default=128, show_default=True, help="Length of an answer."
)
@click.option(
    "--depth",
    type=click.IntRange(0),
    metavar="N",
    multiple=True,
    help="Tokens in the context before a prompt or an answer; may be repeated. Default: 0.",
)
@click.option(
    "--clients",
    type=click.IntRange(1, MOST_CLIENTS),
    metavar="N",
    multiple=True,
    help="Sequences at the same time; may be repeated. Default: 1.",
)
@click.option("--repeat", type=click.IntRange(1), metavar="N", default=3, show_default=True, help="Runs of each.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@click.option("--svg", type=click.Path(path_type=Path), metavar="FILE", help="Write a plot of the rates too.")
@load_options(leaving_out=("n_parallel",))
def command(
    file: str | None,
    choice: LoadChoice,
    depth: tuple[int, ...],
    clients: tuple[int, ...],
    as_json: bool,
    svg: Path | None,
    **lengths: int,
) -> None:
    """Measure how fast the model in FILE reads prompts (prefill) and generates answers (decode).

    Rates are medians of tokens a second. No token of a prompt comes from the KV cache, but for those before it. Answers
    have exactly the length asked for, and are not drafted. Where llama-bench is on the PATH, it measures the same
    lengths with one sequence.
    """
    from glm_gguf.cli.bench_plot import svg as plot
    from glm_gguf.cli.bench_runs import Workload
    from glm_gguf.cli.bench_view import as_json as json_of
    from glm_gguf.cli.bench_view import print_table
    from glm_gguf.cli.model_argument import DEFAULT_MODEL, model_path
    from glm_gguf.whole_file import whole_file

    if svg is not None and not svg.absolute().parent.is_dir():
        raise RequestError("there is no such directory", field="svg", path=svg.absolute().parent, fix="make it first")
    path = model_path(DEFAULT_MODEL if file is None else file)
    work = Workload(depths=tuple(sorted(set(depth or (0,)))), clients=tuple(sorted(set(clients or (1,)))), **lengths)
    found, peer = _measured(path, choice, work)
    if svg is not None:
        with whole_file(svg) as output:
            output.write(plot(found).encode())
            output.finish()
    if as_json:
        click.echo(json_of(found, work, peer))
    else:
        print_table(found, peer)


def _measured(path: Path, choice: LoadChoice, work: Workload) -> tuple[list[Rates], Mapping[int, Pair]]:
    """Measure the model, then llama-bench where it is installed."""
    from glm_gguf.cli.bench_runs import Bench
    from glm_gguf.cli.footprint_line import footprint_line, warn_without_gpu
    from glm_gguf.cli.llama_bench import PeerError, installed, measure_peer
    from glm_gguf.llama.load_plan import LoadPlan, Machine
    from glm_gguf.llama.model_file import ModelFile
    from glm_gguf.model import GLM

    n_parallel = max(choice.options.n_parallel, *work.clients)
    options = replace(choice.options, n_ctx=work.n_ctx, n_parallel=n_parallel, n_host_cache=0, draft=0)
    alone = replace(options, workers=())  # llama-bench has none
    plan = LoadPlan.estimate(ModelFile.open(path).contents, alone, Machine.here(alone))
    with GLM(path, options=options) as glm:
        warn_without_gpu(options, glm.footprint)
        click.secho(footprint_line(glm.footprint), dim=True, err=True)
        if work.longest > glm.n_ctx:
            what = f"{work.longest} tokens of one sequence are more than the {glm.n_ctx} that the model knows"
            raise RequestError(what, field="depth", fix="give less, or stretch the context by yarn")
        found = []
        for rates in Bench(glm, work).run():
            click.echo(f"measured {rates.clients} at once, {rates.depth:,} tokens deep", err=True)
            found.append(rates)
    program = installed()
    if program is None or 1 not in work.clients or options.workers:
        return found, {}
    click.echo(f"measuring {program} …", err=True)
    try:
        return found, measure_peer(program, path, work, plan)
    except PeerError as error:
        say(f"warning: {error}", fg="yellow")
        return found, {}
