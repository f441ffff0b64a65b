"""The models that lie in a store, told from its folders and from the headers of its files."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import quote, unquote

from glm_gguf.errors import GgufError
from glm_gguf.gguf_file.parts import SPLIT_NAME, open_all_parts
from glm_gguf.store.model import Model, StoredFile, file_type, free_name, model_stem

HUBS: Final = ("hf", "ms")
"""Folders of a store: HUB/OWNER/NAME[@REVISION]/FILE.gguf."""

_log = logging.getLogger(__name__)


def folder_of(source: str) -> PurePosixPath:
    """Return the folder of a repository's files in a store: hf://OWNER/NAME@a/b → hf/OWNER/NAME@a%2Fb."""
    found = re.fullmatch(r"(\w+)://([^/@]+)/([^/@]+)(?:@(.+))?", source)
    if found is None:
        raise ValueError(f"{source!r} is no address")
    revision = f"@{quote(found[4], safe='')}" if found[4] else ""
    return PurePosixPath(found[1], found[2], found[3] + revision)


def models_that_lie_in(directory: Path) -> tuple[Model, ...]:
    """Return all models whose files are complete; a file that is no GGUF, or a part alone, is logged."""
    models: list[Model] = []
    for path in _first_files(directory):
        try:
            contents = open_all_parts(path)
        except GgufError as error:
            _log.warning("left out: %s", error)
            continue
        owner, source = _source(path.relative_to(directory))
        name = free_name(model_stem(path.name), owner, [model.name for model in models])
        files = tuple(StoredFile(file.path, file.file_size) for file in contents.files)
        models.append(Model(name, file_type(path.name, contents), files, source))
    return tuple(models)


def _first_files(directory: Path) -> Iterator[Path]:
    """Yield every GGUF below whose name can be printed, of a split model its first part."""
    for hub in HUBS:
        for path in sorted((directory / hub).rglob("*.gguf")):
            split, name = SPLIT_NAME.fullmatch(path.name), str(path.relative_to(directory))
            if name.isprintable() and path.is_file() and (split is None or int(split["number"]) == 1):
                yield path


def _source(path: Path) -> tuple[str | None, str | None]:
    """Return owner and address of a file by its path in the store; None twice for a file elsewhere."""
    if len(path.parts) < 4:
        return None, None
    hub, owner, repository = path.parts[:3]
    name, at, revision = repository.partition("@")
    return owner, f"{hub}://{owner}/{name}{at}{unquote(revision)}"
