"""Sampling parameters as `/set NAME VALUE` changes them."""

from __future__ import annotations

import dataclasses
import difflib
import json
import sys
import types
import typing
from typing import Any, Final

from glm_gguf.errors import RequestError
from glm_gguf.llama.sampling_params import SamplingParams

OPEN: Final = ("default", "none", "off")
"""Words that reset a parameter to the model's default."""
UNSEEN: Final = ("logprobs",)
"""Parameters without a visible effect in a chat."""


def _types() -> dict[str, type]:
    """Return the parameters that a number, a truth value or texts can set, with their types."""
    found = {}
    for name, hint in typing.get_type_hints(SamplingParams).items():
        kind = typing.get_args(hint)[0]
        if kind in (int, float, bool, str) and name not in UNSEEN:
            found[name] = kind
    return found


TYPES: Final = types.MappingProxyType(_types())
SETTABLE: Final = tuple(TYPES)


def with_field(sampling: SamplingParams, name: str, text: str) -> SamplingParams:
    """Return sampling with one parameter set from text; RequestError for an unknown name or a wrong value."""
    if name not in TYPES:
        near = difflib.get_close_matches(name.replace("-", "_"), SETTABLE, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(SETTABLE)}"
        raise RequestError(f"there is no such parameter; {hint}", where=f"/set {name}")
    if not text:
        return sampling
    value = None if text.lower() in OPEN else _value(TYPES[name], name, text)
    return dataclasses.replace(sampling, **{name: value})


def shown_value(value: Any) -> str:
    """Return a parameter's value as text; None is the model's default."""
    return "default" if value is None else json.dumps(value, ensure_ascii=False)


def _value(kind: type, name: str, text: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    if kind is str:
        return value if isinstance(value, str | list) else text
    if kind is float and type(value) in (int, float) and abs(value) <= sys.float_info.max:
        return value
    if type(value) is kind:
        return value
    wanted = {int: "a whole number", float: "a number", bool: "true or false"}[kind]
    raise RequestError(f"{text!r} is not {wanted}", where=f"/set {name}", fix=f"give {wanted}, or default")
