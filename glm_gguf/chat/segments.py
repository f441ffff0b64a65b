"""A prompt as segments: control tokens the template wrote, and plain text in which nothing is special.

Text of users, tools and models may spell a control token (`<|assistant|>`). ContentMask replaces such spellings by
placeholder characters before rendering: the template wrote every control token that the rendering still spells.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from glm_gguf.errors import RequestError
from glm_gguf.special_tokens import OPEN_THOUGHT

FIRST_PLACEHOLDER: Final = 0xF0000  # start of plane 15, private use: no meaningful text holds these
LAST_PLACEHOLDER: Final = 0xFFFFD
_PRIVATE: Final = re.compile(f"[{chr(FIRST_PLACEHOLDER)}-{chr(LAST_PLACEHOLDER)}]")
_ESCAPED: Final = re.compile(r"\\udb[89ab][0-9a-f]\\ud[c-f][0-9a-f]{2}")
"""The escapes of json.dumps for a character of plane 15, its two noncharacters included."""


@dataclass(frozen=True, slots=True)
class ControlSegment:
    """The spelling of exactly one control token, written by the template."""

    text: str


@dataclass(frozen=True, slots=True)
class TextSegment:
    """Text between control tokens; a control token spelled in it stays text."""

    text: str


Segment = ControlSegment | TextSegment


def joined_text(segments: Iterable[Segment]) -> str:
    """Return the prompt as one string."""
    return "".join(segment.text for segment in segments)


def opens_thought(segments: Sequence[Segment]) -> bool:
    """Tell whether the prompt leaves a thought open: the answer then starts inside it (GLM-Z1)."""
    return bool(segments) and segments[-1].text.rstrip().endswith(OPEN_THOUGHT)


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

    It also hides the beginning of a control token at the end of a text: the template might complete it.
    """

    def __init__(self, control_tokens: Sequence[str], values: Sequence[object], source: str) -> None:
        self._control = re.compile(f"({_alternatives(control_tokens)})")
        self._beginnings = {token[:length] for token in control_tokens for length in range(1, len(token))}
        self._longest = max(map(len, control_tokens), default=0)
        content = [text for value in values for text in strings_in(value)]
        self.n_characters = sum(map(len, content))
        spelled = {piece for text in content for piece in self._spelled(text)}
        marks = _unused_characters([source, *content], len(spelled)) if spelled else []
        self._placeholders = dict(zip(sorted(spelled), marks, strict=True))
        self._pieces = {ord(mark): piece for piece, mark in self._placeholders.items()}
        self._escaped_pieces = {_json_escape(mark): piece for piece, mark in self._placeholders.items()}

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
        """Return the spellings in a text that must be hidden."""
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
        """Split a rendering at its control tokens, and put the hidden spellings back."""
        # re.split with one group alternates: text, control, text, control, text.
        texts = self._control.split(rendering)
        segments: list[Segment] = [
            ControlSegment(text) if index % 2 else TextSegment(self._show(text))
            for index, text in enumerate(texts)
            if text
        ]
        return tuple(segments)

    def _show(self, text: str) -> str:
        if not self._pieces:
            return text
        return _ESCAPED.sub(self._show_escaped, text).translate(self._pieces)

    def _show_escaped(self, found: re.Match[str]) -> str:
        """Return the control token of a placeholder in JSON escapes."""
        return self._escaped_pieces.get(found.group(), found.group())


def _alternatives(texts: Iterable[str]) -> str:
    """Return a pattern of the texts, longest first as tokenizers match them; without texts it never matches."""
    return "|".join(map(re.escape, sorted(texts, key=lambda text: (-len(text), text)))) or r"(?!)"


def _unused_characters(texts: Iterable[str], count: int) -> list[str]:
    """Return `count` private-use characters that the texts hold neither plainly nor as JSON escapes.

    Raises RequestError if fewer are left.
    """
    used: set[str] = set()
    for text in texts:
        used.update(_PRIVATE.findall(text))
        used.update(json.loads(f'"{escape}"') for escape in set(_ESCAPED.findall(text)))
    characters = map(chr, range(FIRST_PLACEHOLDER, LAST_PLACEHOLDER + 1))
    unused = list(islice((character for character in characters if character not in used), count))
    if len(unused) < count:
        raise RequestError(
            "the text holds nearly every private-use character of plane 15 and spells control tokens",
            fix=f"leave {count} of U+F0000 to U+FFFFD unused",
        )
    return unused


def _json_escape(character: str) -> str:
    r"""Write a character beyond the basic plane as json.dumps does: two lower-case \u escapes."""
    high, low = divmod(ord(character) - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
