"""Parts of a message in any API's form: their text, a line that stands for a part without one, or a refusal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from glm_gguf.errors import RequestError

READS_TEXT: Final = "the GLM-4 models read text"
TEXT_KINDS: Final = frozenset({"text", "input_text", "output_text"})
THOUGHT_KINDS: Final = frozenset({"thinking", "redacted_thinking", "reasoning", "reasoning_text", "summary_text"})
"""Thoughts of earlier answers; the models do not read them."""

_IMAGE: Final = "an image that this model cannot see"
_SOUND: Final = "a sound that this model cannot hear"
_FILE: Final = "a file that this model cannot read"
_STAND_INS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "image": _IMAGE,
        "image_url": _IMAGE,
        "input_image": _IMAGE,
        "output_image": _IMAGE,
        "computer_screenshot": _IMAGE,
        "audio": _SOUND,
        "audio_url": _SOUND,
        "input_audio": _SOUND,
        "output_audio": _SOUND,
        "video": "a video that this model cannot see",
        "video_url": "a video that this model cannot see",
        "file": _FILE,
        "input_file": _FILE,
        "document": "a document that this model cannot read",
    }
)


def content_text(content: object, field: str, role: str, *, lenient: bool = False) -> str:
    """Return the text of a content: None is empty, several text parts are lines."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        raise RequestError(f"content is text or a list of parts, not {type(content).__name__}", field=field)
    texts = (_part_text(part, f"{field}[{index}]", role, lenient=lenient) for index, part in enumerate(content))
    return "\n".join(text for text in texts if text is not None)


def _part_text(part: object, field: str, role: str, *, lenient: bool) -> str | None:
    """Return the text of one content part; None for a thought.

    An unreadable part of a user's new message is refused. If `lenient` (tools' results, old messages), a line stands
    for it: the client sends that message again with every turn.
    """
    if isinstance(part, str):
        return part
    if not isinstance(part, Mapping):
        raise RequestError(f"a content part is an object, not {type(part).__name__}", field=field)
    text, kind = part_text(part), _kind(part)
    if text is not None:
        return text
    if lenient and kind in TEXT_KINDS and part.get("text") is None and "text" in part:
        return None
    if kind in TEXT_KINDS or kind == "refusal":
        key = "refusal" if kind == "refusal" else "text"
        raise RequestError(f"the text is {type(part.get(key)).__name__}, not a string", field=f"{field}.{key}")
    if role == "assistant" and kind in THOUGHT_KINDS:
        return None
    if not lenient:
        raise RequestError(f"cannot read a part of type {part['type']!r}", field=f"{field}.type", fix=READS_TEXT)
    return stand_in(part)


def part_text(part: Mapping[str, Any]) -> str | None:
    """Return the text of a part; None if it has none."""
    kind = _kind(part)
    match part:
        case {"refusal": str(text)} if kind == "refusal":
            return text
        case {"text": str(text)} if kind in TEXT_KINDS:
            return text
        case {"source": Mapping() as source} if kind == "document":
            body = _document(source)
            return None if body is None else _titled(part, body)
        case {"content": content} if kind == "search_result":
            return _titled(part, _joined(content) or "")
        case {"tool_name": str(name)} if kind == "tool_reference":
            return f"the tool {name}"
        case {"resource": {"text": str(text)}} if kind == "resource":
            return text
    return None


def is_media(part: Mapping[str, Any]) -> bool:
    """Tell whether a part is media that these models cannot read."""
    return _kind(part) in _STAND_INS


def stand_in(part: Mapping[str, Any]) -> str:
    """Return the line that stands for an unreadable part of a tool's result."""
    text = part.get("text")
    if isinstance(text, str):
        return text
    kind = part.get("type")
    named = (part.get(key) for key in ("filename", "file_name", "title", "name"))
    name = next((name for name in named if isinstance(name, str) and name), None)
    line = _STAND_INS.get(str(kind), f"a part of type {kind!r} that this model cannot read")
    return f"[{line}]" if name is None else f"[{line}: {name}]"


def _kind(part: Mapping[str, Any]) -> str:
    """Return the type of a part; of no known one where it is no text."""
    kind = part.get("type", "text")
    return kind if isinstance(kind, str) else ""


def _document(source: Mapping[str, Any]) -> str | None:
    """Return the text of a document's source: plain text, or blocks of it."""
    match source:
        case {"type": "text", "data": str(text)}:
            return text
        case {"type": "content", "content": content}:
            return _joined(content)
    return None


def _joined(content: object) -> str | None:
    """Return the text of a content; None if one of its parts has none."""
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        return None
    texts = [part_text(part) if isinstance(part, Mapping) else None for part in content]
    known = [text for text in texts if text is not None]
    return "\n".join(known) if len(known) == len(texts) else None


def _titled(part: Mapping[str, Any], body: str) -> str:
    """Put a part's title, source and context before its text."""
    heads = (part.get(key) for key in ("title", "source", "context"))
    return "\n".join([*(head for head in heads if isinstance(head, str) and head), body])
