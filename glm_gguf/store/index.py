"""index.json: every model of the store, in one file that is replaced as a whole.

Its version changes with its form. A program that meets a newer version leaves the file as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from glm_gguf.errors import StoreError
from glm_gguf.regular_file import read_regular
from glm_gguf.store.location import VARIABLE
from glm_gguf.store.model import Model, StoredFile
from glm_gguf.whole_file import whole_file

NAME: Final = "index.json"
VERSION: Final = 1
MOST_BYTES: Final = 2**26
TEXTS: Final = ("name", "type", "source", "commit", "pulled")


class DamagedIndex(Exception):
    """The index is missing, or no index: what is wrong with it."""

    def __init__(self, what: str, *, is_missing: bool = False) -> None:
        super().__init__(what)
        self.is_missing = is_missing


def read_index(directory: Path) -> tuple[Model, ...]:
    """Read the models of a store; raises DamagedIndex, and StoreError for a file that this program may not read."""
    path = directory / NAME
    try:
        path.lstat()
    except FileNotFoundError:
        raise DamagedIndex("is missing", is_missing=True) from None
    except OSError as problem:
        fix = f"is this the store that you mean? {VARIABLE} names another"
        raise StoreError(f"cannot be read: {problem.strerror}", path=path, fix=fix) from None
    try:
        index = json.loads(read_regular(path, MOST_BYTES, StoreError))
    except (ValueError, RecursionError):
        raise DamagedIndex("is no JSON") from None
    version = index.get("version") if isinstance(index, dict) else None
    if type(version) is not int or version < 1:
        raise DamagedIndex("names no version")
    if version > VERSION:
        what = f"a newer glm-gguf has written it (version {version}, this one reads {VERSION})"
        fix = f"update glm-gguf, name files instead of models, or name another store by {VARIABLE}"
        raise StoreError(what, path=path, fix=fix)
    try:
        return tuple(_model(record, directory) for record in index["models"])
    except (LookupError, TypeError, ValueError, AttributeError) as problem:
        raise DamagedIndex(f"holds something that is no model ({type(problem).__name__})") from None


def write_index(directory: Path, models: Iterable[Model]) -> None:
    """Replace the index; raises OutputError."""
    records = [_record(model, directory) for model in sorted(models, key=lambda model: model.name.casefold())]
    text = json.dumps({"version": VERSION, "models": records}, indent=1, ensure_ascii=False)
    with whole_file(directory / NAME) as unfinished:
        unfinished.write(text.encode())
        unfinished.finish()


def _record(model: Model, directory: Path) -> dict[str, Any]:
    files = [
        {"path": file.path.relative_to(directory).as_posix(), "bytes": file.n_bytes, "digest": file.digest}
        for file in model.files
    ]
    return {**{name: getattr(model, name) for name in TEXTS}, "files": files}


def _model(record: Mapping[str, Any], directory: Path) -> Model:
    """Return the model of a record; raises one of several errors for anything else."""
    texts = {name: record[name] for name in TEXTS}
    if not all(isinstance(text, str) or (text is None and name not in TEXTS[:2]) for name, text in texts.items()):
        raise TypeError("a text is none")
    if not all(text is None or text.isprintable() for text in texts.values()):
        raise ValueError("a text cannot be printed")
    return Model(files=tuple(_file(file, directory) for file in record["files"]), **texts)


def _file(record: Mapping[str, Any], directory: Path) -> StoredFile:
    path, n_bytes, digest = record["path"], record["bytes"], record["digest"]
    parts = Path(path).parts
    if Path(path).is_absolute() or ".." in parts or not parts or not path.isprintable() or type(n_bytes) is not int:
        raise ValueError("a file lies outside the store")
    if not isinstance(digest, str | None):
        raise TypeError("a hash is no text")
    return StoredFile(directory / path, n_bytes, digest)
