"""Results of tools that other services run, as text."""

from __future__ import annotations

import json
from typing import Any, Final

from glm_gguf.chat.content_parts import is_media, part_text, stand_in

_SEALED: Final = ("encrypted_content", "encrypted_index", "encrypted_stdout")
"""Fields that only the service can read."""


def output_text(value: Any) -> str:
    """Write a value as text: text parts as they are, media as a line, other objects as JSON."""
    match value:
        case None:
            return ""
        case str():
            return value
        case list():
            return "\n".join(output_text(one) for one in value)
        case dict():
            text = part_text(value) if "type" in value else None
            if text is not None:
                return text
            if is_media(value):
                return stand_in(value)
            return json.dumps({key: one for key, one in value.items() if key not in _SEALED}, ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False)
