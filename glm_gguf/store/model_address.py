"""The address of a model: hf://OWNER/NAME[@REVISION][:TYPE] or ms://…, or a short name with a type or without."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace
from typing import Final

from glm_gguf.errors import RequestError
from glm_gguf.source_name import address_meant
from glm_gguf.store.known_models import DEFAULT_TYPE, KNOWN_MODELS

SCHEME: Final = re.compile(r"(hf|ms)://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ModelAddress:
    """A repository at a revision, and the type that is wanted of it; None leaves the choice to what is there."""

    source: str
    """hf://OWNER/NAME[@REVISION] or ms://…"""
    type: str | None = None

    def __str__(self) -> str:
        """As a user writes it."""
        return self.source if self.type is None else f"{self.source}:{self.type}"

    def is_of(self, source: str | None) -> bool:
        """Tell whether it names this repository; the hubs take names in any case of their letters."""
        return source is not None and source.casefold() == self.source.casefold()

    def with_type(self, type_: str | None) -> ModelAddress:
        """Return the same repository with this type; raises RequestError where another is named already."""
        if type_ is None or self.type is None:
            return replace(self, type=self.type if type_ is None else type_)
        if self.type.casefold() != type_.casefold():
            what = f"two types are named, {self.type} and {type_}"
            raise RequestError(what, field="type", fix="leave one out")
        return self


def model_address(text: str) -> ModelAddress | None:
    """Read an address or a short name; None for another name, or a path."""
    scheme = SCHEME.match(text)
    if scheme is not None:
        place, _, wanted = text[scheme.end() :].partition(":")
        return ModelAddress(scheme[0].lower() + place, wanted or None)
    name, _, wanted = text.partition(":")
    known = KNOWN_MODELS.get(name.lower())
    return None if known is None else ModelAddress(known.source, wanted or None)


def to_pull(text: str, type_: str | None = None) -> ModelAddress:
    """Read what `pull` is asked for, with the type of an option; raises RequestError for another name.

    A short name stands for a checkpoint, which is converted to Q4_K_M where no type is named.
    """
    found = model_address(text)
    if found is None:
        raise RequestError("this is no address of a model", where=repr(text), fix=_advice(text))
    found = found.with_type(type_)
    return found if SCHEME.match(text) or found.type else replace(found, type=DEFAULT_TYPE)


def _advice(text: str) -> str:
    """Say which address is probably meant by a text that is none."""
    address = address_meant(text)
    if address is not None:
        return f"write {address}"
    near = difflib.get_close_matches(text.partition(":")[0].lower(), KNOWN_MODELS, n=1)
    meant = f"did you mean {near[0]}? " if near else ""
    return f"{meant}name hf://OWNER/NAME, ms://OWNER/NAME, or one of {', '.join(KNOWN_MODELS)}"
