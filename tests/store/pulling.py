"""Pulls into a store: with small pieces, without waits between tries, and with a watcher that keeps what it is told."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from hub_server import Waits

from glm_gguf.convert import Conversion
from glm_gguf.convert.source.hub.hub_client import TransferSettings
from glm_gguf.convert.source.hub.repository import RemoteFile, Repository
from glm_gguf.convert.writing.write import Silent
from glm_gguf.store.model_address import to_pull
from glm_gguf.store.pull import Pulled, pull
from glm_gguf.store.remote_models import RemoteModel
from glm_gguf.store.store import Store

SETTINGS = TransferSettings(connections=2, piece_bytes=2**18)


class Told:
    """A PullWatcher that remembers; `stop_at` bytes of a file it raises KeyboardInterrupt."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.waited: list[Path] = []
        self.fetched: list[str] = []
        self.converted: list[Path] = []
        self.had: list[int] = []
        self._stop_at = stop_at

    def waits(self, path: Path) -> None:
        self.waited.append(path)

    def fetches(self, model: RemoteModel, repository: Repository) -> None:
        self.fetched.append(model.stem)

    def has(self, file: RemoteFile, n_bytes: int) -> None:
        self.had.append(n_bytes)
        if self._stop_at is not None and n_bytes >= self._stop_at:
            raise KeyboardInterrupt

    def converts(self, conversion: Conversion, origin: str) -> Any:
        self.converted += conversion.paths
        return nullcontext(Silent())


def pulled(store: Store, name: str, watcher: Told | None = None, *, type_: str | None = None, **asked: Any) -> Pulled:
    """The model that `name` means, fetched by `pull`."""
    address = to_pull(name, type_)
    return pull(store, address, watcher or Told(), settings=SETTINGS, stop=asked.pop("stop", Waits()), **asked)
