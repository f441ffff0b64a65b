"""FILE, wherever a command takes one: a path, a name from the store, or a hub's address, which is fetched first."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from glm_gguf.cli.user_store import user_store
from glm_gguf.configuration.configuration import Configuration
from glm_gguf.errors import RequestError
from glm_gguf.gguf_file.parts import open_all_parts
from glm_gguf.store.model import Model, StoredFile, file_type, model_stem
from glm_gguf.store.model_address import SCHEME, ModelAddress, model_address
from glm_gguf.store.other_programs import other_model
from glm_gguf.store.store import Store

DEFAULT_MODEL: Final = "default"
"""FILE that stands for the configuration's model."""
NO_MODEL: Final = "name one as FILE, or set one for all commands: glm-gguf config set model FILE"


def given_or_default(text: str) -> str:
    """Return the configured model for `default`, and any other text as it is; RequestError where none is configured."""
    if text != DEFAULT_MODEL:
        return text
    configured = Configuration.load().value("model")
    if configured is None:
        raise RequestError("no model is named", field="file", fix=NO_MODEL)
    return str(configured)


def model_path(text: str) -> Path:
    """Return the file that a name, a path or an address means; an address that the store lacks is fetched.

    A file that exists is meant before a name. Raises GlmGgufError; a path that does not exist is returned as it is.
    """
    return named_path(text)[1]


def named_path(text: str) -> tuple[str, Path]:
    """Return `model_path` with the name of the model; of a path that is the file's without its ending."""
    text = given_or_default(text)
    found = _found(text)
    return (Path(text).stem, Path(text)) if found is None else (found.name, found.path)


def named_model(text: str) -> Model:
    """Return the model that `model_path` means; of a file, a model without a source."""
    text = given_or_default(text)
    found = _found(text)
    if found is not None:
        return found
    contents = open_all_parts(text)
    files = tuple(StoredFile(file.path, file.file_size) for file in contents.files)
    return Model(model_stem(Path(text).name), file_type(text, contents), files)


def _found(text: str) -> Model | None:
    """Return the model of a name or an address; None for a path, which need not exist."""
    address = model_address(text) if SCHEME.match(text) else None
    if address is None and os.path.isfile(text):
        return None  # also where there is no store
    store = user_store()
    if address is not None:
        found = store.look_up(text)
        return _fetched(store, address) if found is None or found.missing else found
    if store.look_up(text) is not None:
        return store.find(text)
    found = None if text.endswith(".gguf") else other_model(text)
    if found is not None or _is_path(text):
        return found  # of a path that is none, who opens it says what is wrong
    try:
        return store.find(text)
    except RequestError as error:
        if Configuration.load().value("model") is not None:
            error.fix = f"{error.fix}; `default` as FILE is the model of the configuration"
        raise


def _fetched(store: Store, address: ModelAddress) -> Model:
    """Fetch the model of an address into the store."""
    from glm_gguf.cli.pull_view import pull_view, tell_of_faults
    from glm_gguf.store.pull import pull

    with pull_view() as view:
        pulled = pull(store, address, view, converts=False)
    tell_of_faults(pulled)
    return pulled.model


def _is_path(text: str) -> bool:
    """Tell whether a text that names no file is meant as one."""
    return text.endswith(".gguf") or os.sep in text or "/" in text or os.path.exists(text)
