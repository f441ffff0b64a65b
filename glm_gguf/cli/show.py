"""`glm-gguf show`: what is known of a model."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click

from glm_gguf.cli.completed_values import model_names
from glm_gguf.cli.inspect import finding_lines, summary_lines
from glm_gguf.cli.model_argument import named_model
from glm_gguf.cli.model_json import model_json
from glm_gguf.cli.printable import print_line
from glm_gguf.gguf_file.contents import model_integer
from glm_gguf.gguf_file.parts import open_all_parts
from glm_gguf.gguf_file.report import Report
from glm_gguf.store.model import Model


@click.command(name="show")
@click.argument("model", shell_complete=model_names)
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object, sizes in bytes.")
def command(model: str, as_json: bool) -> None:
    """Show what is known of MODEL: where it comes from, where it lies, what it is, and what is wrong with it.

    MODEL is a name that list shows, or a file. glm-gguf inspect shows keys and tensors too.
    """
    found = named_model(model)
    report = Report.of(open_all_parts(found.path))
    if as_json:
        facts = report.as_json()
        chosen = (
            "architecture",
            "variant",
            "parameters",
            "bits_per_weight",
            "kv_cache_bytes_per_token_f16",
            "findings",
        )
        context = model_integer(report.contents.metadata, "context_length")
        values = {**model_json(found), **{name: facts[name] for name in chosen}, "context_length": context}
        click.echo(json.dumps(values, indent=2))
        return
    for line in (*_origin(found), *summary_lines(report), "", *finding_lines(report.findings)):
        print_line(line)


def _origin(model: Model) -> Iterator[str]:
    """Yield where a model comes from, a fact a line."""
    yield f"{model.name}, {model.type}"
    commit = f", commit {model.commit}" if model.commit else ""
    if model.source is not None:
        yield f"  {'source':<17} {model.source}{commit}"
    if model.pulled is not None:
        yield f"  {'pulled':<17} {model.pulled}"
    if model.program is not None:
        yield f"  {'store':<17} {model.program}'s"
