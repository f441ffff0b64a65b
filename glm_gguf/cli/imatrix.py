"""`glm-gguf imatrix`: an importance matrix measured on texts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from glm_gguf.cli.completed_values import model_names
from glm_gguf.cli.data_options import FILE, data_options
from glm_gguf.cli.grouped_help import GroupedCommand
from glm_gguf.cli.load_options import LoadChoice, load_options
from glm_gguf.cli.printable import say

if TYPE_CHECKING:
    from glm_gguf.quality.chunks import ChunkOptions


@click.command(name="imatrix", cls=GroupedCommand)
@click.argument("file", shell_complete=model_names, required=False)
@click.option(
    *("-o", "--out"),
    type=FILE,
    metavar="PATH",
    help="File to write. Default: the name of FILE with .imatrix.gguf, in this directory.",
)
@data_options("a text that comes with glm-gguf; none where --in is given")
@click.option(
    *("--in", "add"),
    type=FILE,
    metavar="PATH",
    multiple=True,
    help="Importance matrix of the model FILE to add (GGUF); may be repeated. Without --data nothing is computed.",
)
@click.option("--process-output", is_flag=True, help="Measure output.weight too.")
@click.option("--force", is_flag=True, help="Replace an existing output.")
@load_options(leaving_out=("n_parallel", "cache_type_k", "cache_type_v"))
def command(
    file: str | None,
    out: Path | None,
    data: tuple[Path, ...],
    chunks: ChunkOptions,
    choice: LoadChoice,
    **given: Any,
) -> None:
    """Measure which columns of each matrix matter (importance matrix), for `convert --imatrix`.

    The model in FILE reads texts, and the squares of what enters each matrix are summed by column: the sums that
    llama-imatrix takes, in its file. Take a file of BF16, F16 or Q8_0. An interrupted run leaves PATH.part, and the
    same command goes on from there.
    """
    from glm_gguf.cli.chunk_progress import chunk_progress
    from glm_gguf.cli.model_argument import DEFAULT_MODEL, named_path
    from glm_gguf.cli.termination import terminable
    from glm_gguf.quality.built_in_texts import calibration_text
    from glm_gguf.quality.imatrix import ImatrixOptions, measure_imatrix
    from glm_gguf.quality.text_data import read_data

    name, path = named_path(DEFAULT_MODEL if file is None else file)
    out = Path(f"{Path(name).name}.imatrix.gguf") if out is None else out
    options = ImatrixOptions(chunks, output=given["process_output"], add=given["add"], force=given["force"])
    text = read_data(data) if data else None if options.add else calibration_text()
    with terminable(), chunk_progress("imatrix") as view:
        found = measure_imatrix(path, text, out, options, choice.options, view)
    rows = f"{len(found.sums)} matrices, {found.n_chunks} chunks of {found.chunk_tokens} tokens"
    say(f"{rows}; texts: {', '.join(found.datasets)}")
    click.echo(out)
