"""Numbers of requests in which -1 asks for no limit, and which may be written 5.0."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from glm_gguf.llama.bounds import MOST_INTEGER, Bounds
from glm_gguf.server.bodies.wire import whole


def _unlimited(value: Any) -> Any:
    """Return the largest number for -1, which asks for no limit."""
    value = whole(value)
    return MOST_INTEGER if value == -1 else value


def _uncut(value: Any) -> Any:
    """Return 0, which cuts nothing, for -1."""
    value = whole(value)
    return 0 if value == -1 else value


def within(bounds: Bounds, *, minimum: float | None = None) -> Any:
    """Return the constraint that a field keeps bounds, from another `minimum` where an API has one."""
    return Field(ge=bounds.minimum if minimum is None else minimum, le=bounds.maximum)


Whole = Annotated[int, BeforeValidator(whole)]
Length = Annotated[int, Field(ge=1, le=MOST_INTEGER), BeforeValidator(_unlimited)]
"""Tokens; -1 is no limit."""
LengthOrNone = Annotated[int, Field(ge=0, le=MOST_INTEGER), BeforeValidator(_unlimited)]
"""Tokens, 0 too; -1 is no limit."""
Cut = Annotated[int, Field(ge=0, le=MOST_INTEGER), BeforeValidator(_uncut)]
"""So many of the likeliest; 0 and -1 are all."""
