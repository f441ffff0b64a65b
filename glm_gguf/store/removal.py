"""Remove a model of the store, or what an interrupted run left of one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from glm_gguf.errors import OutputError
from glm_gguf.gguf_file.parts import SPLIT_NAME, SPLIT_PATH
from glm_gguf.store.download import removing
from glm_gguf.store.folders import HUBS
from glm_gguf.store.model import Model, model_stem
from glm_gguf.store.store import Store

ENDINGS = (".part", ".journal", ".unfinished")


@dataclass(frozen=True, slots=True)
class Unfinished:
    """Files that an interrupted download or conversion left, or that one writes now."""

    name: str
    files: tuple[Path, ...]
    n_bytes: int


def unfinished(store: Store) -> tuple[Unfinished, ...]:
    """Return what is unfinished in the store, a model each, in the order of their names."""
    groups: dict[str, list[Path]] = {}
    for path in _left(store):
        groups.setdefault(model_stem(f"{_stem(path)}.gguf"), []).append(path)
    return tuple(Unfinished(name, tuple(paths), sum(map(_size, paths))) for name, paths in sorted(groups.items()))


def remove(store: Store, model: Model) -> None:
    """Remove a model's files, then the model from the index; raises OutputError. A killed call can be repeated."""
    _unlink([file.path for file in model.files], store.directory)
    store.forget(model)


def remove_unfinished(store: Store, left: Unfinished) -> None:
    """Remove what an interrupted run left; raises OutputError, also where one writes it now."""
    with ExitStack() as held:
        for first in {_first_file(path) for path in left.files}:
            held.enter_context(removing(store.directory, first))
        _unlink(left.files, store.directory)


def _first_file(left: Path) -> Path:
    """Return the path that the first file of a model gets, of which something is left."""
    name = f"{_stem(left)}.gguf"
    split = SPLIT_NAME.fullmatch(name)
    return left.with_name(
        name if split is None else SPLIT_PATH.format(stem=split["stem"], number=1, count=int(split["count"]))
    )


def _stem(left: Path) -> str:
    return left.name.partition(".gguf")[0].removeprefix(".")


def _left(store: Store) -> Iterator[Path]:
    for hub in HUBS:
        for path in sorted((store.directory / hub).rglob("*")):
            if path.name.endswith(ENDINGS) and ".gguf." in path.name:
                yield path


def _size(path: Path) -> int:
    """Bytes that a file takes of the disk: a conversion sets all its space aside at once."""
    with suppress(OSError):
        return path.stat().st_size
    return 0


def _unlink(paths: tuple[Path, ...] | list[Path], root: Path) -> None:
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as problem:
            raise OutputError(f"cannot be removed: {problem.strerror}", path=path) from None
    for path in paths:
        with suppress(OSError, ValueError):  # a folder that holds more stays
            for folder in path.relative_to(root).parents[:-1]:
                (root / folder).rmdir()
