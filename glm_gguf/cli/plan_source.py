"""SOURCE of plan: a GGUF by path, name or address, or a checkpoint in a directory or on a hub."""

from __future__ import annotations

import os
from pathlib import Path

from glm_gguf.cli.model_argument import model_path
from glm_gguf.cli.user_store import user_store
from glm_gguf.gguf_file.parts import GgufParts
from glm_gguf.llama.model_file import ModelFile
from glm_gguf.store.model_address import ModelAddress, model_address


def planned_address(source: str) -> ModelAddress | None:
    """Return the hub's repository that a source means; None for a file, a directory, and a model that is there."""
    address = model_address(source)
    if address is None or os.path.exists(source):
        return None
    stored = user_store().look_up(source)
    return address if stored is None or stored.missing else None


def planned_contents(source: str) -> GgufParts | None:
    """Read the headers of the GGUF that a source means, on a hub without fetching it; None for a checkpoint."""
    address = planned_address(source)
    if address is not None:
        from glm_gguf.store.remote_header import remote_header

        contents = remote_header(address)
        return None if contents is None else ModelFile.of(source, contents).contents
    if os.path.isdir(source) and user_store().look_up(source) is None:
        return None
    return ModelFile.open(model_path(source)).contents


def written_to(source: str, imatrix: str | None) -> Path:
    """Return the directory in which the next command writes its file: for a pull the store, or what is there of it."""
    if imatrix is not None or planned_address(source) is None:
        return Path.cwd()
    directory = user_store().directory
    return next(path for path in (directory, *directory.parents) if path.is_dir())
