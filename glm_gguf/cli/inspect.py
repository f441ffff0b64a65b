"""`glm-gguf inspect`: what a GGUF file holds, and what is wrong with it."""

from __future__ import annotations

import json
import sys
import textwrap
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import click

from glm_gguf.cli.completed_values import model_names
from glm_gguf.cli.model_argument import model_path
from glm_gguf.cli.printable import print_line, printable, printable_line
from glm_gguf.errors import GgufError
from glm_gguf.gguf_file.contents import Contents
from glm_gguf.gguf_file.finding import Finding, problem
from glm_gguf.gguf_file.header import ARCHITECTURE_KEY
from glm_gguf.gguf_file.parts import open_all_parts
from glm_gguf.gguf_file.report import Report
from glm_gguf.gguf_file.tensor_list import TensorInfo
from glm_gguf.gguf_file.values import Scalar, Text, Value, text, type_label
from glm_gguf.variant import is_name_alone

WIDTH: Final = 80
KEY_WIDTH: Final = 40
TYPE_WIDTH: Final = 13
CORRECT_TEMPLATE: Final = "correct chat_template.jinja of the checkpoint, and convert it again with glm-gguf convert"
PROBLEM_EXIT: Final = 3
"""click takes 2 for wrong options."""


@click.command(name="inspect")
@click.argument("model", metavar="FILE", shell_complete=model_names)
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object, tensors included.")
@click.option("--tensors", is_flag=True, help="List the tensors as well.")
@click.option("--template", is_flag=True, help="Print the chat template and nothing else.")
def command(model: str, as_json: bool, tensors: bool, template: bool) -> None:
    """Show what a GGUF file holds, and what is wrong with it.

    Of a split model, name any part. No weights are read, and nothing is loaded.

    The exit code is 0 for a good file, also where there is advice. It is 3 for a problem that makes the model answer
    wrongly or not at all, and 1 for a malformed file.
    """
    if as_json + tensors + template > 1:
        raise click.UsageError("--json, --tensors and --template exclude each other")
    file = model_path(model)
    report = _report(open_all_parts(file))
    if template:
        _print_template(report, file)
        return
    if as_json:
        # Escaped, so that it survives any terminal's or pipe's encoding.
        click.echo(json.dumps(report.as_json(), indent=2, allow_nan=False))
    else:
        for line in _lines(report, tensors):
            print_line(line)
    if report.has_problem:
        sys.exit(PROBLEM_EXIT)


def _report(contents: Contents) -> Report:
    """Diagnose a model, and try its chat template."""
    from glm_gguf.chat.template_trial import template_fault

    report = Report.of(contents)
    template = report.chat_template
    fault = None if not template or report.variant is None or is_name_alone(template) else template_fault(template)
    if fault is None:
        return report
    unusable = problem(f"the chat template cannot be used: {fault}", "chats with the model fail", CORRECT_TEMPLATE)
    return replace(report, findings=(unusable, *report.findings))


def _print_template(report: Report, file: Path) -> None:
    if report.chat_template is None:
        raise GgufError("there is no chat template", path=file, fix="base models have none; see glm-gguf inspect")
    click.echo(printable(report.chat_template))


def _lines(report: Report, with_tensors: bool) -> Iterator[str]:
    yield from summary_lines(report)
    yield ""
    yield "Types"
    for share in report.types:
        yield f"  {share.name:<10}{share.n_tensors:>6} tensors{_size(share.n_bytes):>14}{share.n_weights:>22,} weights"
    yield ""
    yield "Keys"
    for key, value in report.contents.metadata.items():
        yield from _key_lines(printable_line(key), value)
    if with_tensors:
        yield ""
        yield "Tensors"
        yield from (_tensor_line(tensor) for tensor in report.contents.tensors)
    yield ""
    yield from finding_lines(report.findings)


def summary_lines(report: Report) -> Iterator[str]:
    """Files, name, variant and sizes of a model."""
    contents, bits, cache = report.contents, report.bits_per_weight, report.kv_bytes_per_token
    for file in contents.files:
        yield f"{file.path}: GGUF {file.version}, {_size(file.file_size)}"
    name = text(contents.metadata, "general.name")
    yield f"  {'name':<17} {name or 'none'}"
    yield f"  {'architecture':<17} {text(contents.metadata, ARCHITECTURE_KEY) or 'none'}"
    yield f"  {'variant':<17} {report.variant or 'none: glm-gguf does not run it'}"
    yield f"  {'tensors':<17} {len(contents.tensors)} in {_size(report.tensor_bytes)}"
    yield f"  {'weights':<17} {report.n_weights:,}"
    yield f"  {'bits per weight':<17} " + ("none" if bits is None else f"{bits:.3f}")
    yield f"  {'KV cache':<17} " + ("unknown" if cache is None else f"{cache:,} bytes a token at f16")
    template = report.chat_template
    yield f"  {'chat template':<17} " + (f"{len(template):,} characters (see --template)" if template else "none")


def _key_lines(key: str, value: Value) -> Iterator[str]:
    """One line a key; two where the key is long, none longer than the screen."""
    head = f"  {key:<{KEY_WIDTH}} "
    if len(key) > KEY_WIDTH:
        yield f"  {key}"
        head = f"  {'':<{KEY_WIDTH}} "
    yield _fit(f"{head}{type_label(value):<{TYPE_WIDTH}} {value_text(value)}".rstrip())


def value_text(value: Value) -> str:
    """A value in one line; of an array the first items."""
    match value:
        case Scalar(value=float(number)):
            return f"{number:g}"
        case Scalar(value=number):
            return str(number).lower()
        case Text(value=string):
            return printable_line(string[:WIDTH])
        case _:
            return printable_line(", ".join(str(item) for item in value.items[:4]))


def _tensor_line(tensor: TensorInfo) -> str:
    shape = " x ".join(str(extent) for extent in tensor.shape)
    return f"  {printable_line(tensor.name):<36} {tensor.type.name:<8}{shape:>18}{_size(tensor.n_bytes):>14}"


def finding_lines(findings: tuple[Finding, ...]) -> Iterator[str]:
    """What is wrong, why, and what mends it."""
    if not findings:
        yield "Nothing is wrong with this file."
    for finding in findings:
        yield from _wrap(f"{finding.severity}: {printable_line(finding.what)}", "")
        yield from _wrap(f"why: {printable_line(finding.why)}", "  ")
        yield from _wrap(f"mend: {printable_line(finding.mend)}", "  ")


def _wrap(paragraph: str, indent: str) -> list[str]:
    return textwrap.wrap(paragraph, WIDTH, initial_indent=indent, subsequent_indent=indent + "  ")


def _fit(line: str) -> str:
    """Cut a line to the screen; East Asian wide characters take two columns."""
    columns = 0
    for index, character in enumerate(line):
        columns += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if columns > WIDTH:
            return line[: index - 2] + "…"
    return line


def _size(n_bytes: int) -> str:
    """Bytes in decimal units."""
    size = float(n_bytes)
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.2f} {unit}"
        size /= 1000
    return f"{size:.2f} GB"
