"""Times and sizes as people write them: 90s, 10m, 2h; 500M, 4G."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

import click

SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600}
BYTES: Final = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


class Amount(click.ParamType[float]):
    """A positive number with a unit."""

    def __init__(self, name: str, units: Mapping[str, int], examples: str) -> None:
        self.name = name
        self._units = units
        self._examples = examples

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number in seconds or bytes."""
        if isinstance(value, int | float):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]?)b?", value.strip().lower())
        amount = float(found[1]) * self._units.get(found[2], math.nan) if found else math.nan
        if not 0 < amount < math.inf:
            self.fail(f"{value!r} is no {self.name}; write {self._examples}.", param, ctx)
        return amount


TIME: Final = Amount("time", SECONDS, "90s, 10m or 2h")
SIZE: Final = Amount("size", BYTES, "500M or 4G")
