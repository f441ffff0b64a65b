"""Python values as JSON: functions' results, and defaults."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import pathlib
import re
import uuid
from collections.abc import Iterator, Mapping, Set
from typing import Any


def plain(value: Any) -> Any:
    """Return a value as JSON would decode it; TypeError or ValueError if JSON cannot hold it."""
    return json.loads(json.dumps(value, default=_known, allow_nan=False))


def json_text(value: Any) -> str:
    """Write a value as JSON, unknown types as their str(); TypeError or ValueError for types without a useful one."""
    return json.dumps(value, ensure_ascii=False, default=_known_or_text)


def _known(value: Any) -> Any:
    """Return the JSON form of a common type's value; TypeError for other types."""
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
    if isinstance(value, decimal.Decimal | pathlib.PurePath | uuid.UUID):
        return str(value)
    if isinstance(value, bytes | bytearray):
        return value.decode(errors="replace")
    if hasattr(value, "tolist"):  # numpy's arrays and numbers
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no value that JSON has")


def _known_or_text(value: Any) -> Any:
    """Return the JSON form of a value, at worst its str(); TypeError if that is only an address in memory."""
    try:
        return _known(value)
    except TypeError:
        text = str(value)
        if isinstance(value, type) or re.search(r" at 0x[0-9a-fA-F]+>", text):
            raise
        return text
