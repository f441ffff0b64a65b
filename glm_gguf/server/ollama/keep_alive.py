"""Ollama's `keep_alive`: how long a model stays loaded after a request."""

from __future__ import annotations

import re
from typing import Final

from glm_gguf.server.problem import Problem, Refused

KeepAlive = int | float | str
UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
"""Unit of a duration in Go → seconds."""
_NUMBER: Final = r"(?:[0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})"
_PART: Final = re.compile(rf"({_NUMBER})(ns|us|µs|μs|ms|s|m|h)")
_DURATION: Final = re.compile(rf"([-+]?)(?:({_NUMBER})|((?:{_PART.pattern})+))")


def kept_seconds(keep_alive: KeepAlive | None) -> float | None:
    """Return seconds, negative for ever; None if nothing is asked for. Refused for text that is no duration of Go."""
    if keep_alive is None or keep_alive == "":
        return None
    if not isinstance(keep_alive, str):
        return float(keep_alive)
    found = _DURATION.fullmatch(keep_alive.strip()) if len(keep_alive) <= 64 else None
    if found is None:
        what = f"{keep_alive[:40]!r} is no duration; give seconds as a number, or a text such as 5m"
        raise Refused(Problem(400, f"keep_alive: {what}.", param="keep_alive"))
    sign, number, parts = found[1], found[2], found[3]
    seconds = float(number) if number else sum(float(size) * UNITS[unit] for size, unit in _PART.findall(parts))
    return -seconds if sign == "-" else seconds
