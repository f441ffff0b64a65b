"""What `glm-gguf serve` serves: one file, several files by their names, or the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from glm_gguf.cli.model_options import SharedOptions
from glm_gguf.errors import RequestError

if TYPE_CHECKING:
    from glm_gguf.model import GLM
    from glm_gguf.server.pool.catalogue import Catalogue


def named_files(files: Sequence[Path]) -> dict[str, Path]:
    """Return files by the names that requests give; RequestError where two have the same."""
    named: dict[str, Path] = {}
    for path in files:
        if path.stem in named:
            what = f"{named[path.stem]} has the name {path.stem!r} too"
            raise RequestError(what, path=path, fix="rename one of the files")
        named[path.stem] = path
    return named


def catalogue_of(shared: SharedOptions, paths: Mapping[str, Path]) -> Catalogue:
    """Return the models among which requests choose; a file that cannot be loaded is an error of its requests only."""
    from glm_gguf.llama.room import Room
    from glm_gguf.server.pool.catalogue import ModelFiles

    room = Room.here(shared.options)
    return ModelFiles(lambda: paths, lambda path: _opened(shared, path), room.fits)


def _opened(shared: SharedOptions, path: Path) -> GLM:
    """Load a file for the requests that name it, and say so on stderr."""
    click.echo(f"loading {path} …", err=True)
    return shared.choice(path).open(verbose=True)
