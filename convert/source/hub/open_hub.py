"""A checkpoint on a hub, opened: its small files in a directory of their own, its shards as streams."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from glm_gguf.convert.source.hub import hugging_face, model_scope
from glm_gguf.convert.source.hub.address import Address, Hub
from glm_gguf.convert.source.hub.fetcher import Fetcher
from glm_gguf.convert.source.hub.hub_shards import HubShards
from glm_gguf.convert.source.hub.local_mirror import LocalMirror
from glm_gguf.convert.source.hub.names import SMALL_FILES
from glm_gguf.convert.source.hub.network import Network
from glm_gguf.convert.source.hub.ranged_request import Wire
from glm_gguf.convert.source.hub.retries import Patience
from glm_gguf.convert.source.source import Source
from glm_gguf.errors import HubError
from glm_gguf.source_name import unfit_repository

LOOK_UPS = {Hub.HUGGING_FACE: hugging_face.look_up, Hub.MODEL_SCOPE: model_scope.look_up}
MOST_SHOWN = 200
"""Characters of a name that an error may hold."""


class Ended(Protocol):
    """A threading.Event that is set when the source is closed."""

    def set(self) -> None:
        """End all waits."""

    def wait(self, seconds: float, /) -> bool:
        """Wait; True where the end came."""


@contextmanager
def open_hub(
    address: Address, keep: Path | None = None, network: Network | None = None, ended: Ended | None = None
) -> Iterator[Source]:
    """Pin the commit and fetch the small files; raises GlmGgufError.

    With `keep`, a directory, what is fetched for a conversion is kept there too. `ended` waits between tries.
    """
    ended, network = ended or threading.Event(), network or Network()
    repository = LOOK_UPS[address.hub](address, Patience(ended.wait, tries=4), network)
    unfit = unfit_repository([name for name in repository.listed if name.isprintable() and len(name) <= MOST_SHOWN])
    if unfit is not None:
        raise HubError(unfit[0], path=str(address), fix=unfit[1])
    repository.file("config.json")
    kept = None if keep is None else LocalMirror(keep)
    wire = Wire(repository.credentials, network)
    try:
        with TemporaryDirectory(prefix="glm-gguf-") as made:
            directory = Path(made) / address.name
            fetcher = Fetcher(repository, wire, Patience(ended.wait), network)
            _gather_small_files(fetcher, directory, kept)
            shards = HubShards(fetcher, directory, kept)
            sizes = [shards.size(name) or 0 for name in shards.names()]
            origin = f"{address}, commit {repository.commit}, {sum(sizes) / 1e9:.2f} GB in {len(sizes)} shards"
            yield Source(directory, shards, str(address), origin)
    finally:
        ended.set()
        wire.close()


def _gather_small_files(fetcher: Fetcher, directory: Path, kept: LocalMirror | None) -> None:
    directory.mkdir()
    for name, max_bytes in SMALL_FILES.items():
        file = fetcher.repository.files.get(name)
        if file is None:
            continue
        if kept is None or not kept.has(file):
            data = fetcher.whole(file, max_bytes)
        else:
            data = kept.part(file, 0, file.n_bytes)
            if not file.digest.fits(data):
                raise kept.foreign(file)
        (directory / name).write_bytes(data)
