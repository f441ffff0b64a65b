"""`glm-gguf rm`: remove models from the store."""

from __future__ import annotations

import json

import click

from glm_gguf.cli.completed_values import model_names
from glm_gguf.cli.printable import say
from glm_gguf.cli.size_text import size_text
from glm_gguf.cli.user_store import user_store
from glm_gguf.errors import RequestError
from glm_gguf.store.model import Model
from glm_gguf.store.other_programs import other_model
from glm_gguf.store.removal import Unfinished, remove, remove_unfinished, unfinished
from glm_gguf.store.store import Store


@click.command(name="rm")
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=model_names)
@click.option("--json", "as_json", is_flag=True, help="Print what was removed as a JSON array, sizes in bytes.")
def command(names: tuple[str, ...], as_json: bool) -> None:
    """Remove models from the store, and what interrupted runs left of them.

    NAME is a name that list shows. Nothing is removed where one of the names is unknown.
    """
    store = user_store()
    chosen = [_chosen(store, name) for name in names]
    for each in chosen:
        if isinstance(each, Model):
            remove(store, each)
        else:
            remove_unfinished(store, each)
    if as_json:
        click.echo(json.dumps([{"name": each.name, "bytes": each.n_bytes} for each in chosen], indent=2))
        return
    for each in chosen:
        say(f"removed {each.name}, {size_text(each.n_bytes)}")


def _chosen(store: Store, name: str) -> Model | Unfinished:
    """Return the model, or else the unfinished one, of a name; raises RequestError if there is neither."""
    found = store.look_up(name)
    left = [each for each in unfinished(store) if each.name.casefold() == name.casefold()]
    if found is not None:
        return found
    other = None if left else other_model(name)
    if other is not None:
        what, fix = f"this model lies in the store of {other.program}", f"remove it there: {other.path}"
        raise RequestError(what, where=repr(name), fix=fix)
    return left[0] if left else store.find(name)
