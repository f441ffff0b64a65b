"""`glm-gguf card`: a model card for a file."""

from __future__ import annotations

from pathlib import Path

import click

from glm_gguf.cli.completed_values import model_names
from glm_gguf.cli.data_options import FILE
from glm_gguf.cli.printable import show


@click.command(name="card")
@click.argument("file", shell_complete=model_names, required=False)
@click.option("--base-model", metavar="OWNER/NAME", help="Repository of the original.")
@click.option("--evaluation", type=FILE, metavar="FILE", help="What `glm-gguf evaluate --json` printed of this file.")
@click.option("-o", "--out", type=FILE, metavar="PATH", help="File to write. Default: standard output.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
def command(file: str | None, base_model: str | None, evaluation: Path | None, out: Path | None, force: bool) -> None:
    """Write a model card for FILE: original, licence, types, hashes, evaluation, how to run it.

    All but the evaluation and the original comes from the file itself. What it does not say is left out.
    """
    from glm_gguf.cli.model_argument import DEFAULT_MODEL, model_path
    from glm_gguf.quality.card import CardSource, card
    from glm_gguf.quality.outputs import require_output
    from glm_gguf.quality.saved_evaluation import SavedEvaluation
    from glm_gguf.whole_file import whole_file

    path = model_path(DEFAULT_MODEL if file is None else file)
    if out is not None:
        require_output(out, force=force, inputs=[path, *([] if evaluation is None else [evaluation])])
    measured = None if evaluation is None else SavedEvaluation.read(evaluation)
    written = card(CardSource(path, base_model, measured))
    if out is None:
        show(written, nl=False)
        return
    with whole_file(out) as output:
        output.write(written.encode())
        output.finish()
    click.echo(out)
