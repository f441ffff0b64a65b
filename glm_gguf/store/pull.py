"""Fetch a model into the store: a GGUF as it is, or a checkpoint that is converted while it streams."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from glm_gguf.convert import Conversion, ConvertOptions, TypeChoices
from glm_gguf.convert.source.hub.address import Address, parse_address
from glm_gguf.convert.source.hub.fetcher import Fetcher
from glm_gguf.convert.source.hub.hub_client import TransferSettings
from glm_gguf.convert.source.hub.open_hub import StopEvent, open_hub
from glm_gguf.convert.source.hub.repository import Repository
from glm_gguf.convert.writing.write import Progress
from glm_gguf.errors import GgufError
from glm_gguf.gguf_file.diagnosis import diagnose
from glm_gguf.gguf_file.finding import Finding
from glm_gguf.gguf_file.parts import open_all_parts
from glm_gguf.store.download import Watcher, as_output_error, download, has_right_bytes, writing
from glm_gguf.store.folders import folder_of
from glm_gguf.store.model import Model, StoredFile, file_type, free_name, model_stem
from glm_gguf.store.model_address import ModelAddress
from glm_gguf.store.remote_models import (
    RemoteModel,
    choose,
    is_checkpoint,
    open_repository,
    remote_models,
    without_gguf,
)
from glm_gguf.store.store import Store


class PullWatcher(Watcher, Protocol):
    """Is told what is fetched or converted, and how it goes on."""

    def fetches(self, model: RemoteModel, repository: Repository) -> None:
        """The files of a GGUF model are fetched next."""

    def converts(self, conversion: Conversion, origin: str) -> AbstractContextManager[Progress]:
        """Return what is told of the progress of a conversion."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """A model that is in the store now."""

    model: Model
    findings: tuple[Finding, ...]
    """What is odd about it."""
    was_there: bool
    newer_commit: str | None = None
    """The commit at which the hub lists other bytes than those that are there."""


def pull(
    store: Store,
    address: ModelAddress,
    watcher: PullWatcher,
    *,
    force: bool = False,
    converts: bool = True,
    settings: TransferSettings | None = None,
    stop: StopEvent | None = None,
) -> Pulled:
    """Fetch the model of an address, unless it is there; with `force`, also what is not, or no longer, the hub's.

    Without `converts` a checkpoint is refused. `stop` waits between tries. Raises GlmGgufError; what is fetched by then
    is used by the next call.
    """
    repository_address = parse_address(address.source)
    assert repository_address is not None, "model_address found a scheme"
    settings, stop = settings or TransferSettings(), stop or threading.Event()
    with open_repository(repository_address, settings, stop) as fetcher:
        models = remote_models(fetcher.repository)
        if models:
            chosen = choose(models, address.type, address.source)
            return _pull_files(store, address.source, chosen, fetcher, watcher, force=force)
        if not converts or address.type is None or not is_checkpoint(fetcher.repository):
            raise without_gguf(fetcher.repository)
        there = [model for model in store.models() if address.is_of(model.source) and model.is_meant_by(address.type)]
        if there and not there[0].missing and not force:
            return _there(there[0], fetcher.repository.commit)
    return _pull_converted(store, repository_address, address.type, watcher, settings, force=force)


def _pull_files(
    store: Store, source: str, remote: RemoteModel, fetcher: Fetcher, watcher: PullWatcher, *, force: bool
) -> Pulled:
    """Fetch all files of a model; they are in the index once all are there."""
    folder = store.directory / folder_of(source)
    paths = [folder / file.name for file in remote.files]
    with writing(store.directory, paths[0], watcher):
        old = _indexed(store, paths[0])
        same = old is not None and [file.digest for file in old.files] == [file.digest.hex for file in remote.files]
        if old is not None and not old.missing and not force:
            return _there(old, old.commit if same else fetcher.repository.commit)
        watcher.fetches(remote, fetcher.repository)
        wrong = [pair for pair in zip(remote.files, paths, strict=True) if not has_right_bytes(*pair, watcher)]
        if old is not None and same and not wrong:
            return _there(old, old.commit)
        if old is not None and len(paths) > 1:
            store.forget(old)  # some parts will be new while others are old
        for file, path in reversed(wrong):  # the first part appears last
            download(fetcher, file, path, watcher)
        stored = (
            StoredFile(path, file.n_bytes, file.digest.hex) for path, file in zip(paths, remote.files, strict=True)
        )
        return _add(store, tuple(stored), source, fetcher.repository.commit)


def _pull_converted(
    store: Store, address: Address, type_: str, watcher: PullWatcher, settings: TransferSettings, *, force: bool
) -> Pulled:
    """Convert a checkpoint while it is fetched."""
    folder = store.directory / folder_of(str(address))
    with as_output_error(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with open_hub(address, settings=settings) as opened:
        options = ConvertOptions(types=TypeChoices(type_), force=True)
        conversion = Conversion.prepare(opened, folder, options)
        (path,) = conversion.paths
        with writing(store.directory, path, watcher):
            old = _indexed(store, path)
            if old is not None and not (force and old.commit != opened.commit) and not old.missing:
                return _there(old, opened.commit)  # another process has made it meanwhile
            if (
                old is not None or not path.exists()
            ):  # what lies there unlisted is complete: a kill came before the index
                with watcher.converts(conversion, opened.origin) as progress:
                    conversion.write(progress)
            return _add(store, (StoredFile(path, path.stat().st_size),), str(address), opened.commit)


def _there(model: Model, commit: str | None) -> Pulled:
    newer = None if model.commit in (None, commit) else commit
    return Pulled(model, diagnose(open_all_parts(model.path)), was_there=True, newer_commit=newer)


def _indexed(store: Store, path: Path) -> Model | None:
    return next((model for model in store.models() if model.path == path), None)


def _add(store: Store, files: tuple[StoredFile, ...], source: str, commit: str | None) -> Pulled:
    """Read the headers of complete files, and put the model into the index; GgufError where they are no model."""
    try:
        contents = open_all_parts(files[0].path)
    except GgufError as error:
        for file in files:
            file.path.unlink(missing_ok=True)
        fix = "the hub's file is at fault: name another repository or type"
        raise GgufError(
            f"{error.what} (its hash is the one that the hub lists)", path=error.path, where=error.where, fix=fix
        ) from error
    models = store.models()
    old = _indexed(store, files[0].path)
    owner = source.partition("://")[2].partition("/")[0]
    name = old.name if old else free_name(model_stem(files[0].path.name), owner, [model.name for model in models])
    pulled = datetime.now(UTC).isoformat(timespec="seconds")
    model = Model(name, file_type(str(files[0].path), contents), files, source, commit, pulled)
    store.add(model)
    return Pulled(model, diagnose(contents), was_there=False)
