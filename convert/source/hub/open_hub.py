"""Open a checkpoint on a hub: its small files in a temporary directory, its shards as streams."""

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
from glm_gguf.convert.source.hub.hub_client import HubClient, TransferSettings
from glm_gguf.convert.source.hub.hub_shards import HubShards
from glm_gguf.convert.source.hub.local_mirror import LocalMirror
from glm_gguf.convert.source.hub.retries import RetryPolicy
from glm_gguf.convert.source.hub.wanted_files import small_files
from glm_gguf.convert.source.source import Source
from glm_gguf.errors import HubError
from glm_gguf.source_name import unfit_repository

LOOK_UPS = {Hub.HUGGING_FACE: hugging_face.look_up, Hub.MODEL_SCOPE: model_scope.look_up}
MOST_SHOWN = 200
"""Characters of a file's name in an error."""


class StopEvent(Protocol):
    """A threading.Event; closing the source sets it."""

    def set(self) -> None:
        """End all waits."""

    def wait(self, seconds: float, /) -> bool:
        """Wait; True if the event was set meanwhile."""


@contextmanager
def open_hub(
    address: Address, keep: Path | None = None, settings: TransferSettings | None = None, stop: StopEvent | None = None
) -> Iterator[Source]:
    """Pin the commit and fetch the small files; raises GlmGgufError.

    A conversion also stores what it fetches in the directory `keep`. `stop` waits between tries.
    """
    stop, settings = stop or threading.Event(), settings or TransferSettings()
    repository = LOOK_UPS[address.hub](address, RetryPolicy(stop.wait, tries=4), settings)
    unfit = unfit_repository([name for name in repository.listed if name.isprintable() and len(name) <= MOST_SHOWN])
    if unfit is not None:
        raise HubError(unfit[0], path=str(address), fix=unfit[1])
    repository.file("config.json")
    mirror = None if keep is None else LocalMirror(keep)
    client = HubClient(repository.credentials, settings)
    try:
        with TemporaryDirectory(prefix="glm-gguf-") as made:
            directory = Path(made) / address.name
            fetcher = Fetcher(repository, client, RetryPolicy(stop.wait), settings)
            _fetch_small_files(fetcher, directory, mirror)
            shards = HubShards(fetcher, directory, mirror)
            sizes = [shards.size(name) or 0 for name in shards.names()]
            origin = f"{address}, commit {repository.commit}, {sum(sizes) / 1e9:.2f} GB in {len(sizes)} shards"
            yield Source(directory, shards, str(address), origin, repository.commit)
    finally:
        stop.set()
        client.close()


def _fetch_small_files(fetcher: Fetcher, directory: Path, mirror: LocalMirror | None) -> None:
    directory.mkdir()
    files = fetcher.repository.files
    for name, max_bytes in small_files(files).items():
        file = files[name]
        if mirror is None or not mirror.has(file):
            data = fetcher.whole(file, max_bytes)
        else:
            data = mirror.read_range(file, 0, file.n_bytes)
            if not file.digest.fits(data):
                raise mirror.another_file(file)
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_bytes(data)
