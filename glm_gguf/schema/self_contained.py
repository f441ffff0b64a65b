"""What following the references of a schema yields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from glm_gguf.schema.walk import Schema

OUTSIDE: Final = ("$defs", "definitions", "$id", "id", "$schema")
"""Keywords that say something to references alone."""


@dataclass(frozen=True, slots=True)
class SelfContained:
    """The schema, and where in the original each of its definitions stands."""

    schema: Schema
    origins: dict[str, str]
