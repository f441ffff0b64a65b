"""Python values as JSON has them: what functions return, and defaults."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import json
import re
from collections.abc import Iterator, Mapping, Set
from typing import Any


def plain(value: Any) -> Any:
    """Return a value as JSON decodes it again; TypeError or ValueError for what JSON cannot say."""
    return json.loads(json.dumps(value, default=_plainer, allow_nan=False))


def json_text(value: Any) -> str:
    """Write a value as JSON; TypeError or ValueError for what JSON cannot say."""
    return json.dumps(value, ensure_ascii=False, default=_plainer)


def _plainer(value: Any) -> Any:
    """Return what stands for a value that json does not know: fields of an object, items, a text."""
    if isinstance(value, enum.Enum):
        return value.value
    if hasattr(value, "model_dump") and not isinstance(value, type):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Set | Iterator):
        return list(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bytes | bytearray):
        return value.decode(errors="replace")
    if hasattr(value, "tolist"):  # numpy's arrays and numbers
        return value.tolist()
    return _text(value)


def _text(value: Any) -> str:
    """Return the text of a value that has one of its own: an address in memory tells nobody anything."""
    text = str(value)
    if isinstance(value, type) or re.search(r" at 0x[0-9a-fA-F]+>", text):
        raise TypeError(f"{type(value).__name__} is no value that JSON has")
    return text
