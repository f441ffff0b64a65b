"""`glm-gguf convert ADAPTER_DIR --base MODEL`: a PEFT adapter as a LoRA GGUF."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from glm_gguf.cli.printable import print_line, say
from glm_gguf.cli.size_text import size_text
from glm_gguf.cli.termination import terminable
from glm_gguf.errors import RequestError

if TYPE_CHECKING:
    from glm_gguf.convert.adapter.lora_file import LoraFile

HEEDED = frozenset(("source", "base", "out", "types", "name", "dry_run", "force", "quiet"))
"""Parameters of `convert` that an adapter's file can have."""


def is_adapter(source: str) -> bool:
    """Whether SOURCE is the directory of a PEFT adapter, and of no whole model."""
    directory = Path(source)
    return bool(source) and (directory / "adapter_config.json").is_file() and not (directory / "config.json").exists()


def convert_adapter(context: click.Context, base: str | None) -> None:
    """Write the file, or with --dry-run show what it would hold; raises GlmGgufError."""
    from glm_gguf.convert.adapter.lora_file import AdapterOptions, LoraFile
    from glm_gguf.convert.adapter.peft_adapter import PeftAdapter

    _refuse_unheeded(context)
    given = context.params
    types = given["types"] if _given(context, "types") else ("F32",)
    if len(types) > 1:
        raise RequestError("an adapter is written in one type", field="type", fix="name F32, F16 or BF16")
    directory = Path(given["source"])
    if not given["source"]:
        raise RequestError("the name is empty", field="source", fix="name the directory of an adapter")
    if not base:
        stated = PeftAdapter.open(directory).config.base
        what = "the base is missing" + ("" if stated is None else f"; the adapter was trained on {stated!r}")
        raise RequestError(what, field="base", fix="name a GGUF, a directory or hf://OWNER/NAME")
    with terminable():
        options = AdapterOptions(types[0], given["name"], given["force"])
        file = LoraFile.prepare(directory, base, given["out"], options)
        if given["dry_run"]:
            _print_plan(file)
            file.check_places()
            return
        if not given["quiet"]:
            _print_summary(file)
        click.echo(file.write())


def _given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is not ParameterSource.DEFAULT


def _refuse_unheeded(context: click.Context) -> None:
    """Raise RequestError for an option that an adapter's file cannot have."""
    for parameter in context.command.params:
        if parameter.name is not None and parameter.name not in HEEDED and _given(context, parameter.name):
            fix = "leave it out, or name the base as SOURCE and the adapter by --adapter"
            raise RequestError("the file of an adapter has no such option", field=parameter.opts[-1], fix=fix)


def _print_plan(file: LoraFile) -> None:
    for tensor in file.tensors:
        print_line(f"{tensor.name:36} {' × '.join(map(str, tensor.factor.shape)):>16}  {tensor.type.name}")
    for line in _lines(file):
        print_line(line)


def _print_summary(file: LoraFile) -> None:
    for line in _lines(file):
        say(line)


def _lines(file: LoraFile) -> tuple[str, ...]:
    return (
        f"adapter      {file.adapter.name}, {len(file.updates)} tensors of {file.base.title}, alpha {file.alpha:g}",
        f"size         {size_text(file.n_bytes)}, {file.options.type.upper()}",
        f"output       {file.path}",
    )
