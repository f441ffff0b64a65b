"""JSON of others, whose texts UTF-8 can encode: JavaScript, which cuts texts in halves of characters, writes others."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

_HALF: Final = re.compile(r"\\u[dD][89a-fA-F]")
"""The escape of a surrogate, in a pair or alone."""


Members = Callable[[list[tuple[str, Any]]], Any]


def whole_json(text: str | bytes, members: Members | None = None) -> Any:
    """Parse JSON, half of a surrogate pair as U+FFFD; ValueError for anything else, also for what is too deep.

    `members` makes an object of its members.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig", "replace")
    try:
        value = json.loads(text, object_pairs_hook=members)
        if not _HALF.search(text):
            return value
        written = json.dumps(value, ensure_ascii=False)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    return json.loads(written.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
