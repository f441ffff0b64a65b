"""Models that the server's clients ask for: fetched into the store, as `pull` does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from glm_gguf.convert import Conversion, TensorPlan
from glm_gguf.convert.source.hub.digest import Sha256
from glm_gguf.convert.source.hub.repository import RemoteFile, Repository
from glm_gguf.server.pool.catalogue import FetchProgress
from glm_gguf.store.model_address import to_pull
from glm_gguf.store.pull import pull
from glm_gguf.store.remote_models import RemoteModel
from glm_gguf.store.store import Store

Tell = Callable[[FetchProgress], None]


def fetch_model(store: Store, name: str, tell: Tell) -> None:
    """Fetch the model of a name or an address, unless it is there; raises GlmGgufError, and what `tell` raises."""
    stored = store.look_up(name)
    if stored is not None and stored.source is not None:  # a file of it is gone
        name = f"{stored.source}:{stored.type}"
    pull(store, to_pull(name), _Watcher(tell))


class _Watcher:
    """A PullWatcher that tells all."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    def waits(self, path: Path) -> None:
        """Tell that another process is at it."""
        self._tell(FetchProgress(f"waiting for another that fetches {path.name}"))

    def fetches(self, model: RemoteModel, repository: Repository) -> None:
        """Tell that the list of files is there."""
        self._tell(FetchProgress("pulling manifest"))

    def has(self, file: RemoteFile, n_bytes: int) -> None:
        """Tell how much of a file is there."""
        sha256 = file.digest.hex if isinstance(file.digest, Sha256) else None
        self._tell(FetchProgress(f"pulling {file.name}", sha256, file.n_bytes, n_bytes))

    @contextmanager
    def converts(self, conversion: Conversion, origin: str) -> Iterator[_Written]:
        """Tell how much of a file is converted."""
        self._tell(FetchProgress("pulling manifest"))
        yield _Written(conversion, self._tell)


class _Written:
    """The progress of a conversion to one file."""

    def __init__(self, conversion: Conversion, tell: Tell) -> None:
        self._what = f"converting to {conversion.paths[0].name}"
        self._n_bytes, self._n_done = conversion.plans[0].n_bytes, 0
        self._tell = tell

    def resumed(self, tensors: Sequence[TensorPlan]) -> None:
        """Tell how much an interrupted run had written."""
        self.wrote(sum(tensor.n_bytes for tensor in tensors))

    def started(self, tensor: TensorPlan) -> None:
        """Tell nothing."""

    def wrote(self, n_bytes: int) -> None:
        """Tell how much is written."""
        self._n_done += n_bytes
        self._tell(FetchProgress(self._what, None, self._n_bytes, self._n_done))
