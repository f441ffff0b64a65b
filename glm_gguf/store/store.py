"""The store: models by name. `Store().find("glm-4-9b").path` is a file that GLM opens."""

from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from glm_gguf.errors import RequestError, StoreError
from glm_gguf.store.folders import models_that_lie_in
from glm_gguf.store.index import NAME, DamagedIndex, read_index, write_index
from glm_gguf.store.known_models import DEFAULT_TYPE, KNOWN_MODELS
from glm_gguf.store.location import VARIABLE, store_directory
from glm_gguf.store.model import Model
from glm_gguf.store.model_address import model_address

LOCK: Final = "index.lock"
LOCK_SECONDS: Final = 60.0
"""How long to wait for another process that writes the index, which takes it milliseconds."""

_log = logging.getLogger(__name__)


class Store:
    """Models in a directory; it holds nothing open, and several processes may use one directory at once."""

    def __init__(self, directory: str | os.PathLike[str] | None = None) -> None:
        """Use `directory`; by default the user's own, which GLM_GGUF_STORE may name."""
        self.directory = store_directory() if directory is None else Path(directory).absolute()

    def models(self) -> tuple[Model, ...]:
        """Return all models in the order of their names; raises StoreError.

        A damaged index is written anew from the files that lie there; where it cannot be written, they are read each
        time.
        """
        try:
            return read_index(self.directory)
        except DamagedIndex as damage:
            if not self._holds_something():
                return ()
            if not os.access(self.directory, os.W_OK):
                _log.warning("%s: %s, and cannot be written", self.directory / NAME, damage)
                return models_that_lie_in(self.directory)
            with self._locked():
                return self._recovered(damage)

    def find(self, name: str) -> Model:
        """Return the model that `name` means, with all its files.

        Raises RequestError if there is none or if several are meant, and StoreError if a file of it is gone.
        """
        models = self.models()
        found = _meant(name, models)
        if found is None:
            raise RequestError("the store has no such model", where=repr(name), fix=_advice(name, models))
        if found.missing:
            what = f"a file of the model {found.name} is gone, or is no longer what was stored"
            address = name if found.source is None else f"{found.source}:{found.type}"
            fix = f"glm-gguf pull {address} fetches it again; glm-gguf rm {found.name} forgets it"
            raise StoreError(what, path=found.missing[0], fix=fix)
        return found

    def look_up(self, name: str) -> Model | None:
        """Return the model that `name` means, its files there or not; RequestError if several are meant.

        `name` is a model's name, a short name such as glm-4-9b, or the address of a repository. A type may follow the
        latter two, as in glm-4-9b:Q6_K. Without a type Q4_K_M is preferred to others.
        """
        return _meant(name, self.models())

    def add(self, model: Model) -> None:
        """Put a model, whose files lie in the directory, into the index; one of the same files is replaced."""
        with self._locked():
            write_index(self.directory, [*(other for other in self._current() if other.path != model.path), model])

    def forget(self, model: Model) -> None:
        """Take a model out of the index; its files stay."""
        with self._locked():
            write_index(self.directory, [other for other in self._current() if other.path != model.path])

    def _current(self) -> tuple[Model, ...]:
        """Return the models, while the index is locked."""
        try:
            return read_index(self.directory)
        except DamagedIndex as damage:
            return self._recovered(damage) if self._holds_something() else ()

    def _recovered(self, damage: DamagedIndex) -> tuple[Model, ...]:
        """Write the index anew from the files, unless another process has done so; the damaged file is kept."""
        try:
            return read_index(self.directory)
        except DamagedIndex:
            index = self.directory / NAME
            if index.exists():
                os.replace(index, index.with_name(f"{NAME}.damaged"))
            models = models_that_lie_in(self.directory)
            write_index(self.directory, models)
            level = (
                logging.INFO if damage.is_missing else logging.WARNING
            )  # a first model's file comes before the index
            _log.log(level, "%s: %s; it was made anew from %d models that lie there", index, damage, len(models))
            return read_index(self.directory)

    def _holds_something(self) -> bool:
        """Tell whether the directory holds an index or folders of models; raises StoreError if it cannot be read."""
        try:
            return any(entry.name == NAME or entry.is_dir() for entry in self.directory.iterdir())
        except FileNotFoundError:
            return False
        except OSError as problem:
            fix = f"is this the store that you mean? {VARIABLE} names another"
            raise StoreError(f"cannot be read: {problem.strerror}", path=self.directory, fix=fix) from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock of the index, in a directory that is made if need be; raises StoreError."""
        from filelock import FileLock, Timeout  # a tenth of a second, which readers do without

        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with FileLock(self.directory / LOCK, timeout=LOCK_SECONDS):
                yield
        except Timeout:
            what = f"another process has held the lock for {LOCK_SECONDS:.0f} s"
            raise StoreError(what, path=self.directory / LOCK, fix="end it, and try again") from None
        except OSError as problem:
            fix = f"{VARIABLE} names another directory"
            raise StoreError(f"cannot be written: {problem.strerror}", path=self.directory, fix=fix) from None


def _meant(name: str, models: Sequence[Model]) -> Model | None:
    """Return the model that a name means; None if there is none, RequestError if there are several."""
    for model in models:
        if model.name.casefold() == name.casefold():
            return model
    address = model_address(name)
    if address is None:
        return None
    wanted = address.type
    of_source = [model for model in models if address.is_of(model.source)]
    found = [model for model in of_source if wanted is None or model.is_meant_by(wanted)]
    preferred = [model for model in found if model.type == DEFAULT_TYPE] if wanted is None else []
    if len(found) > 1 and len(preferred) != 1:
        names = ", ".join(model.name for model in found)
        raise RequestError("several models are meant", where=repr(name), fix=f"name one of {names}")
    return next(iter(preferred or found), None)


def _advice(name: str, models: Sequence[Model]) -> str:
    """Say what to do about a name that no model has."""
    if model_address(name) is not None:
        return f"fetch it first: glm-gguf pull {name}"
    names = [*(model.name for model in models), *KNOWN_MODELS]
    near = {folded.casefold(): folded for folded in names}
    close = difflib.get_close_matches(name.casefold(), near, n=1)
    meant = f"did you mean {near[close[0]]}? " if close else ""
    return f"{meant}glm-gguf list shows the names"
