"""OpenAI's context sizes of a search."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

SearchSize = Literal["low", "medium", "high"]
SOURCES: Final[Mapping[SearchSize, int]] = MappingProxyType({"low": 3, "medium": 10, "high": 20})
"""The documents that a text from one search is written from, at most."""
