"""Times and sizes as people write them: 90s, 10m, 2h; 500M, 4G."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Unit:
    """What is measured: its name, the letters behind a number with what each multiplies by, and examples."""

    name: str
    letters: Mapping[str, int]
    examples: str

    def parse(self, text: str) -> float | None:
        """Return a positive number in seconds or bytes; None for a text that is none."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]?)b?", text.strip().lower())
        amount = float(found[1]) * self.letters.get(found[2], math.nan) if found else math.nan
        return amount if 0 < amount < math.inf else None


TIME: Final = Unit("time", MappingProxyType({"": 1, "s": 1, "m": 60, "h": 3600}), "90s, 10m or 2h")
SIZE: Final = Unit("size", MappingProxyType({"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}), "500M or 4G")
