"""An importance matrix on a hub, hf://OWNER/NAME[@REVISION][/FILE] or ms://…, fetched into the store."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Self

from glm_gguf.convert.source.hub.address import NAME, Address, Hub
from glm_gguf.convert.source.hub.hub_client import TransferSettings
from glm_gguf.convert.source.hub.repository import Repository
from glm_gguf.convert.source.hub.wanted_files import matrix_name
from glm_gguf.errors import HubError, ImatrixError, RequestError
from glm_gguf.store.download import Watcher, download, has_right_bytes, writing
from glm_gguf.store.folders import folder_of
from glm_gguf.store.remote_models import open_repository

FOLDER: Final = "imatrix"
"""Of a store, beside the folders of its models."""
MOST_BYTES: Final = 2**30  # a 32B model's has 20 MB
ADDRESS: Final = re.compile(rf"(hf|ms)://({NAME})/({NAME})(?:@([A-Za-z0-9][A-Za-z0-9_.+-]{{0,199}}))?(?:/(.+))?")


@dataclass(frozen=True, slots=True)
class MatrixAddress:
    """A repository, and the file that is meant; None is the only matrix that it holds."""

    repository: Address
    file: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address; RequestError for anything else."""
        found = ADDRESS.fullmatch(text)
        if found is None or ".." in text:
            fix = "write hf://OWNER/NAME, with /FILE behind it or without"
            raise RequestError(f"{text!r} is no address of an importance matrix", field="imatrix", fix=fix)
        return cls(Address(Hub(found[1]), found[2], found[3], found[4]), found[5])


def fetched_imatrix(address: MatrixAddress, directory: Path, watcher: Watcher) -> Path:
    """Fetch a matrix into a store's `directory`, unless it lies there with the hub's hash; raises GlmGgufError."""
    with open_repository(address.repository, TransferSettings(), threading.Event(), matrix_name) as fetcher:
        file = fetcher.repository.file(_meant(fetcher.repository, address.file))
        if file.n_bytes > MOST_BYTES:
            what = f"it has {file.n_bytes:,} bytes, more than any importance matrix"
            raise ImatrixError(what, path=fetcher.repository.where(file.name))
        path = directory / FOLDER / folder_of(str(address.repository)) / PurePosixPath(file.name)
        with writing(directory, path, watcher):
            if not has_right_bytes(file, path, watcher):
                download(fetcher, file, path, watcher)
    return path


def _meant(repository: Repository, wanted: str | None) -> str:
    """Return the name of the file; HubError with those there are."""
    names = sorted(repository.files)
    found = names if wanted is None else [name for name in names if wanted in (name, PurePosixPath(name).name)]
    if len(found) == 1:
        return found[0]
    what = _what(names, wanted)
    fix = (
        f"name one behind the repository: {', '.join(found or names)}" if names else "is this the repository you mean?"
    )
    raise HubError(what, path=str(repository.address), fix=fix)


def _what(names: Sequence[str], wanted: str | None) -> str:
    if not names:
        return "it holds no importance matrix, no file with imatrix in its name"
    return (
        "it holds several importance matrices" if wanted is None else f"{wanted!r} is none of its importance matrices"
    )
