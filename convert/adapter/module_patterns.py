"""Regular expressions of adapter_config.json over names of modules, which may take seconds, but not many."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import prod
from time import process_time
from typing import Any

import regex

from glm_gguf.convert.source.json_file import short_repr
from glm_gguf.errors import ConfigError

MOST_CHARACTERS = 100_000
"""Of a pattern with its counted repetitions written out."""
SEARCH_SECONDS = 1.0
"""Most time that a pattern may take for one name."""
ALL_SECONDS = 5.0
"""Most time that all patterns of an adapter may take for all names together, of the processor."""


@dataclass(slots=True)
class SearchTime:
    """The processor's time that is left to the patterns of one adapter."""

    left: float = ALL_SECONDS

    def spend(self, since: float) -> None:
        """Take what has passed since `since`; raises TimeoutError where nothing is left."""
        self.left -= process_time() - since
        if self.left <= 0:
            raise TimeoutError


@dataclass(frozen=True, slots=True)
class ModulePatterns:
    """The patterns of one field."""

    key: str
    where: str
    time: SearchTime
    compiled: dict[str, Any] = field(default_factory=dict)
    """Pattern as written → compiled; in the file's order."""

    def first(self, patterns: Iterable[str], module: str) -> str | None:
        """The first pattern that a name ends with, as get_pattern_key of peft finds it; raises ConfigError."""
        for pattern in patterns:
            begun = process_time()
            try:
                if pattern not in self.compiled:
                    _require_modest(pattern)
                    self.compiled[pattern] = regex.compile(rf"(.*\.)?({pattern})$")
                found = self.compiled[pattern].match(module, timeout=SEARCH_SECONDS)
                self.time.spend(begun)
            except (regex.error, TimeoutError, RecursionError, ValueError) as problem:
                reason = "takes too long to search" if isinstance(problem, TimeoutError) else f"is wrong: {problem}"
                what = f"the regular expression {short_repr(pattern)} of {self.key} {reason}"
                raise ConfigError(what, path=self.where, fix="write the module's name") from None
            if found:
                return pattern
        return None


def _require_modest(pattern: str) -> None:
    """Raise ValueError for a pattern whose counted repetitions take much memory: compiled, they are written out."""
    counts = (int(count.lstrip("0")[:6] or 1) for count in re.findall(r"[{,]\s*(\d+)", pattern))
    if len(pattern) * prod(counts) > MOST_CHARACTERS:
        raise ValueError("it is too large")
