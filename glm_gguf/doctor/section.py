"""A part of the doctor's report: facts of one subject, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from glm_gguf.gguf_file.finding import Finding

Fact = str | int | float | bool | None | list[str]
"""A value of JSON. None is unknown, and a name that ends in `_bytes` has a number of bytes."""


@dataclass(frozen=True, slots=True)
class Section:
    """Facts of one subject, by their names, and findings about them."""

    title: str
    facts: Mapping[str, Fact]
    findings: tuple[Finding, ...] = ()
