"""A prompt as segments: control tokens the template wrote, and plain text in which nothing is special.

Text of users, tools and models may spell a control token (`<|assistant|>`). Before rendering, every such spelling in
it is replaced by a placeholder character, so that what a rendering still spells was written by the template.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FIRST_PLACEHOLDER = 0xF0000  # start of plane 15, private use: no text that means anything holds these
LAST_PLACEHOLDER = 0xFFFFD


@dataclass(frozen=True, slots=True)
class ControlText:
    """The spelling of exactly one control token, written by the template."""

    text: str


@dataclass(frozen=True, slots=True)
class PlainText:
    """Text between control tokens; a control token spelled in it stays text."""

    text: str


Segment = ControlText | PlainText


def joined_text(segments: Iterable[Segment]) -> str:
    """Return the prompt as one string."""
    return "".join(segment.text for segment in segments)


def opens_thought(segments: Sequence[Segment]) -> bool:
    """Tell whether the prompt leaves a thought open, so that the answer starts inside it (GLM-Z1)."""
    return bool(segments) and segments[-1].text.rstrip().endswith("<think>")


def strings_in(value: object) -> Iterator[str]:
    """Walk every string of a JSON-like value, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from strings_in(key)
            yield from strings_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from strings_in(item)


class ContentMask:
    """Placeholders for the control tokens spelled in one prompt's content.

    The beginning of a control token at the end of a text is hidden as well: the template might complete it.
    """

    def __init__(self, control_tokens: Sequence[str], values: Sequence[object], source: str) -> None:
        self._control = re.compile(f"({_alternatives(control_tokens)})")
        self._beginnings = {token[:length] for token in control_tokens for length in range(1, len(token))}
        self._longest = max(map(len, control_tokens), default=0)
        content = [text for value in values for text in strings_in(value)]
        spelled = {piece for text in content for piece in self._spelled(text)}
        unused = _unused_characters("\n".join([source, *content])) if spelled else iter(())
        self._placeholders = {piece: next(unused) for piece in sorted(spelled)}
        self._pieces = {mark: piece for piece, mark in self._placeholders.items()}
        self._pieces |= {_json_escape(mark): piece for mark, piece in self._pieces.items()}

    def hide(self, value: Any) -> Any:
        """Copy a JSON-like value with every spelled control token replaced by its placeholder."""
        if not self._placeholders:
            return value
        if isinstance(value, str):
            return self._hide_text(value)
        if isinstance(value, Mapping):
            return {self.hide(key): self.hide(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.hide(item) for item in value]
        return value

    def _hide_text(self, text: str) -> str:
        beginning = self._beginning(text)
        text = text.removesuffix(beginning)
        hidden = self._control.sub(lambda found: self._placeholders[found.group()], text)
        return hidden + self._placeholders.get(beginning, "")

    def _spelled(self, text: str) -> set[str]:
        """Find what must be hidden of a text."""
        beginning = self._beginning(text)
        found = set(self._control.findall(text.removesuffix(beginning)))
        return found | {beginning} if beginning else found

    def _beginning(self, text: str) -> str:
        """Return the longest end of a text that is the beginning of a control token."""
        for length in range(min(self._longest, len(text)), 0, -1):
            if text[-length:] in self._beginnings:
                return text[-length:]
        return ""

    def split(self, rendering: str) -> tuple[Segment, ...]:
        """Split a rendering of hidden values at the control tokens it spells, and show the content again."""
        # re.split with one group alternates: text, control, text, control, text.
        parts = self._control.split(rendering)
        kinds: list[Segment] = [
            ControlText(part) if index % 2 else PlainText(self._show(part)) for index, part in enumerate(parts) if part
        ]
        return tuple(kinds)

    def _show(self, text: str) -> str:
        for mark, piece in self._pieces.items():
            text = text.replace(mark, piece)
        return text


def _alternatives(texts: Iterable[str]) -> str:
    """Return a pattern of the texts, longest first as tokenizers match them; never matching where there are none."""
    return "|".join(map(re.escape, sorted(texts, key=lambda text: (-len(text), text)))) or r"(?!)"


def _unused_characters(text: str) -> Iterator[str]:
    """Yield private-use characters that the text holds neither as they are nor as JSON escapes."""
    for code in range(FIRST_PLACEHOLDER, LAST_PLACEHOLDER + 1):
        if chr(code) not in text and _json_escape(chr(code)) not in text:
            yield chr(code)


def _json_escape(character: str) -> str:
    r"""Write a character beyond the basic plane as json.dumps does: two lower-case \u escapes."""
    high, low = divmod(ord(character) - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
