"""What `glm-gguf serve` serves: one file, several files by their names, or the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from glm_gguf.cli.model_argument import named_path
from glm_gguf.cli.model_options import SharedOptions
from glm_gguf.cli.user_store import user_store
from glm_gguf.errors import RequestError

if TYPE_CHECKING:
    from glm_gguf.llama.footprint import Footprint
    from glm_gguf.model import GLM
    from glm_gguf.server.pool.catalogue import Catalogue, ModelFiles


def chosen_models(given: Sequence[str]) -> dict[str, Path]:
    """Return files by the names that requests give, or that of the configuration; none for all models of the store.

    `given` holds paths, names and addresses. Raises RequestError where two models have the same name.
    """
    from glm_gguf.configuration.configuration import Configuration

    configured = None if given else Configuration.load().value("model")
    named: dict[str, Path] = {}
    for name, path in map(named_path, given if configured is None else (str(configured),)):
        if name in named:
            what = f"{named[name]} has the name {name!r} too"
            raise RequestError(what, path=path, fix="rename one of the files")
        named[name] = path
    return named


def store_models(shared: SharedOptions, *, fetches: bool) -> Catalogue:
    """Return all models of the store, also those that are pulled later; requests may fetch others where it `fetches`.

    Raises RequestError for an empty store that stays so.
    """
    from glm_gguf.cli.fetched_models import fetch_model

    store = user_store()
    if not store.models():
        if not fetches:
            fix = "name a FILE, or fetch a model first: glm-gguf pull glm-4-9b"
            raise RequestError("the store has no model", path=store.directory, fix=fix)
        click.echo(f"{store.directory} has no model yet: glm-gguf pull glm-4-9b fetches one meanwhile", err=True)

    def other_name(name: str) -> str | None:
        try:
            found = store.look_up(name)
        except RequestError:
            return None
        return None if found is None else found.name

    found = catalogue_of(shared, lambda: {model.name: model.path for model in store.models()}, other_name)
    return replace(found, fetch=partial(fetch_model, store)) if fetches else found


def catalogue_of(
    shared: SharedOptions,
    paths: Callable[[], Mapping[str, Path]],
    other_name: Callable[[str], str | None] = lambda name: None,
) -> ModelFiles:
    """Return the models among which requests choose; a file that cannot be loaded is an error of its requests only."""
    from glm_gguf.llama.room import Room
    from glm_gguf.server.pool.catalogue import ModelFiles

    room = Room.here(shared.options)

    def opened(path: Path, beside: Sequence[Footprint]) -> GLM:
        click.echo(f"loading {path} …", err=True)
        choice = shared.choice(path)
        return replace(choice, options=room.options_for(path, beside)).open(verbose=True)

    return ModelFiles(paths, opened, room.fits, other_name)
