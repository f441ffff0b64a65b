"""`glm-gguf compare`: several files of one model in one report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from glm_gguf.cli.completed_values import model_names
from glm_gguf.cli.data_options import FILE, data_options
from glm_gguf.cli.evaluation_options import REQUESTS, read_requests, reference_path
from glm_gguf.cli.grouped_help import GroupedCommand
from glm_gguf.cli.load_options import LoadChoice, load_options
from glm_gguf.errors import RequestError

if TYPE_CHECKING:
    from glm_gguf.quality.chunks import ChunkOptions


@click.command(name="compare", cls=GroupedCommand)
@click.argument("files", nargs=-1, required=True, shell_complete=model_names)
@click.option(
    *("--reference",), metavar="FILE", required=True, help="Original: a GGUF of BF16, or what evaluate saved of one."
)
@click.option(
    *("-o", "--out"),
    type=FILE,
    metavar="PATH",
    default="report.html",
    show_default=True,
    help="Page to write; the same as Markdown goes beside it, as .md.",
)
@data_options("a short text that comes with glm-gguf; that of a saved reference")
@REQUESTS
@click.option("--force", is_flag=True, help="Replace an existing report.")
@load_options(leaving_out=("n_parallel",))
def command(
    files: tuple[str, ...],
    reference: str,
    out: Path,
    data: tuple[Path, ...],
    chunks: ChunkOptions,
    force: bool,
    requests: str | None,
    choice: LoadChoice,
) -> None:
    """Compare FILES with their original in one report: sizes, divergence, speed, error by layer.

    The page holds everything, plots too, and opens without a network. It needs the extra `report`. One model is in
    memory at a time.
    """
    from glm_gguf.cli.chunk_progress import chunk_progress
    from glm_gguf.cli.model_argument import model_path
    from glm_gguf.cli.termination import terminable
    from glm_gguf.quality.built_in_texts import evaluation_text
    from glm_gguf.quality.comparison import compared
    from glm_gguf.quality.measurement import Task
    from glm_gguf.quality.plots import require_library
    from glm_gguf.quality.report import Report
    from glm_gguf.quality.text_data import read_data

    paths = [model_path(file) for file in files]
    read = [*paths, Path(reference), *data, *([] if requests is None else [Path(requests)])]
    markdown = _beside(out, read, force=force)
    require_library()
    text = read_data(data) if data else evaluation_text()
    task = Task(text, chunks, read_requests(requests), reference_path(reference, data))
    with terminable():
        report = Report.of(compared(paths, task, choice.options, chunk_progress))
    _write(markdown, report.markdown())
    _write(out, report.html())
    for path in (markdown, out):
        click.echo(path)


def _beside(out: Path, inputs: Sequence[Path], *, force: bool) -> Path:
    """Return where the Markdown goes; raises GlmGgufError for outputs that cannot be written."""
    from glm_gguf.quality.outputs import require_output

    if out.suffix != ".html":
        raise RequestError(f"{out.name} does not end in .html", field="out", fix="name a page, such as report.html")
    markdown = out.with_suffix(".md")
    for path in (out, markdown):
        require_output(path, force=force, inputs=inputs)
    return markdown


def _write(path: Path, text: str) -> None:
    from glm_gguf.whole_file import whole_file

    with whole_file(path) as output:
        output.write(text.encode())
        output.finish()
