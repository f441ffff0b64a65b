"""The models that a server may load: one that is there from the start, or files that requests choose by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from glm_gguf.errors import EngineError
from glm_gguf.llama.footprint import Footprint
from glm_gguf.model import GLM


@dataclass(frozen=True, slots=True)
class FetchProgress:
    """How far a model is fetched."""

    what: str
    """In words."""
    sha256: str | None = None
    """Of the file that is fetched, in hexadecimal; None for one that is converted."""
    n_bytes: int | None = None
    """Of that file; None before it is known."""
    n_done: int = 0
    """Bytes that are there."""


Fetch = Callable[[str, Callable[[FetchProgress], None]], None]
"""Fetches the model of a name or an address into the catalogue, and tells how far it is; ends with what that raises."""


class Catalogue(Protocol):
    """Models by name. The server reads the names at every request; threads call `open` and `fits`."""

    @property
    def only(self) -> str | None:
        """The name of the one model, which is loaded at the start and answers under any name; None for several."""

    @property
    def fetch(self) -> Fetch | None:
        """What fetches a model that is not there; None where requests may fetch none."""

    def names(self) -> Sequence[str]:
        """Return the names of all models."""

    def find(self, name: str) -> str | None:
        """Return the name of the model that a request means; None for none."""

    def path(self, name: str) -> Path | None:
        """Return the file of a model, which tells of it before it is loaded; None if only loading does."""

    def open(self, name: str, beside: Sequence[Footprint]) -> GLM:
        """Load a model beside these, which are loaded; raises GlmGgufError."""

    def fits(self, name: str, beside: Sequence[Footprint]) -> bool:
        """Tell whether memory holds a model beside these, which are loaded; GlmGgufError for an unusable one."""


@dataclass(frozen=True, slots=True)
class OneModel:
    """One model: requests may call it by any name."""

    name: str
    open_model: Callable[[], GLM]

    @property
    def only(self) -> str:
        """Its name."""
        return self.name

    @property
    def fetch(self) -> None:
        """It stays the only one."""
        return

    def names(self) -> Sequence[str]:
        """Return its name."""
        return (self.name,)

    def find(self, name: str) -> str:
        """Return its name, whatever a request calls it."""
        return self.name

    def path(self, name: str) -> None:
        """It is loaded at the start, by a function that knows where it lies."""
        return

    def open(self, name: str, beside: Sequence[Footprint]) -> GLM:
        """Load it."""
        return self.open_model()

    def fits(self, name: str, beside: Sequence[Footprint]) -> bool:
        """It is alone; loading it tells whether memory holds it."""
        return True


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Files by the names that requests choose; `paths` is asked again every time, since files come and go."""

    paths: Callable[[], Mapping[str, Path]]
    open_file: Callable[[Path, Sequence[Footprint]], GLM]
    fits_beside: Callable[[Path, Sequence[Footprint]], bool]
    other_name: Callable[[str], str | None] = lambda name: None
    """Returns the name that a request means by another, such as a short one; None for none."""
    fetch: Fetch | None = None

    @property
    def only(self) -> None:
        """Requests choose, even among one."""
        return

    def names(self) -> Sequence[str]:
        """Return the names of all files."""
        return tuple(self.paths())

    def find(self, name: str) -> str | None:
        """Return a file's name."""
        return name if name in self.paths() else self.other_name(name)

    def open(self, name: str, beside: Sequence[Footprint]) -> GLM:
        """Load a file."""
        return self.open_file(self.path(name), beside)

    def fits(self, name: str, beside: Sequence[Footprint]) -> bool:
        """Tell whether memory holds a file beside others."""
        return self.fits_beside(self.path(name), beside)

    def path(self, name: str) -> Path:
        """Return the path of a model; EngineError if it was removed meanwhile."""
        path = self.paths().get(name)
        if path is None:
            raise EngineError(f"the model {name!r} was removed")
        return path
