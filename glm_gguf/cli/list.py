"""`glm-gguf list`: the models of the store."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import click

from glm_gguf.cli.model_json import model_json
from glm_gguf.cli.printable import printable_line, say
from glm_gguf.cli.size_text import size_text
from glm_gguf.cli.user_store import user_store
from glm_gguf.store.known_models import KNOWN_MODELS
from glm_gguf.store.model import Model
from glm_gguf.store.other_programs import other_models, runs_here
from glm_gguf.store.removal import Unfinished, unfinished


@click.command(name="list")
@click.option("--all", "of_all", is_flag=True, help="List the models in the stores of other programs too.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object, sizes in bytes.")
def command(of_all: bool, as_json: bool) -> None:
    """List the models of the store, which every command takes by their names.

    With --all it looks into the stores of Ollama, LM Studio and llama.cpp, and into the caches of Hugging Face's and
    ModelScope's own tools. Commands take these models by their names too, and use the files where they lie.
    """
    store = user_store()
    models, left = store.models(), unfinished(store)
    others = other_models() if of_all else ()
    usable = tuple(filter(runs_here, others))
    if as_json:
        rows = [{"name": each.name, "bytes": each.n_bytes, "files": list(map(str, each.files))} for each in left]
        found = {"directory": str(store.directory), "models": list(map(model_json, models)), "unfinished": rows}
        click.echo(json.dumps({**found, **({"others": list(map(model_json, usable))} if of_all else {})}, indent=2))
        return
    if models or usable:
        _print_table([*models, *usable])
    else:
        click.echo(f"no models yet in {store.directory}", err=True)
        click.echo(f"glm-gguf pull fetches one: {', '.join(KNOWN_MODELS)}, or hf://OWNER/NAME", err=True)
    if len(others) > len(usable):
        click.echo(f"other programs have {len(others) - len(usable)} more GGUFs, of no GLM-4 that runs here", err=True)
    _tell_of_unfinished(left)


def _print_table(models: Sequence[Model]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "type", box=None, pad_edge=False)
    table.add_column("size", justify="right", no_wrap=True)
    for title in ("pulled", "source"):
        table.add_column(title, overflow="fold")
    for model in models:
        name, pulled = printable_line(model.name), (model.pulled or "")[:10]
        table.add_row(name, model.type, size_text(model.n_bytes), pulled, _origin(model))
    # a table in a pipe or file is as wide as it needs to be
    Console(width=None if sys.stdout.isatty() else 200, markup=False).print(table)


def _origin(model: Model) -> str:
    if model.missing:
        return "its file is gone"
    return ", ".join(filter(None, (model.program, model.source)))


def _tell_of_unfinished(left: Sequence[Unfinished]) -> None:
    for each in left:
        line = f"unfinished   {each.name}, {size_text(each.n_bytes)}: pull goes on, glm-gguf rm {each.name} removes it"
        say(line)
