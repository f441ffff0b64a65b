r"""JSON Schema's regular expressions (ECMA-262), rewritten for Rust's and Python's engines.

`\d` and `\w` are ASCII, a surrogate pair is one character, `[` in a class is a bracket. `\A`, `\Z` and `(?![\s\S])`
mean the ends of a text, as authors intend them.
"""

from __future__ import annotations

import re
from typing import Final

_ESCAPE: Final = re.compile(
    r"\\(?:u\{[0-9a-fA-F]+\}|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|[pP]\{[^}]*\}|k<\w+>|c[A-Za-z]|.)", re.DOTALL
)
_PAIR: Final = re.compile(r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_CODE_POINT: Final = re.compile(r"\\u\{([0-9a-fA-F]{1,6})\}")
_CONTROL: Final = re.compile(r"((?<!\\)(?:\\\\)*)\\c([A-Za-z])")
_BEHIND_THE_END: Final = r"(?![\s\S])"
_OUTSIDE: Final = {
    r"\d": "[0-9]",
    r"\D": "[^0-9]",
    r"\w": "[0-9A-Za-z_]",
    r"\W": "[^0-9A-Za-z_]",
    r"\A": "^",
    r"\Z": "$",
    r"\z": "$",
    "[^]": r"[\s\S]",
    "[]": r"[^\s\S]",
}
_INSIDE: Final = {r"\d": "0-9", r"\w": "0-9A-Za-z_", "[": r"\[", "&": r"\&", "~": r"\~"}
_SETS: Final = ("\\d", "\\D", "\\w", "\\W", "\\s", "\\S", "\\p", "\\P")


def normal_pattern(pattern: str) -> str:
    """Return a pattern by which Rust's and Python's engines match what ECMA-262's matches by the given one."""
    text = _CODE_POINT.sub(lambda found: f"\\U{int(found.group(1), 16):08X}", _PAIR.sub(_joined, pattern))
    text = _CONTROL.sub(lambda found: f"{found.group(1)}\\x{ord(found.group(2)) % 32:02X}", text)
    text = text.replace("$" + _BEHIND_THE_END, "$").replace(_BEHIND_THE_END, "$")
    return "".join(map(_normal_token, tokens(text)))


def _normal_token(token: str) -> str:
    if token in _OUTSIDE:
        return _OUTSIDE[token]
    if len(token) > 2 and token[0] == "[" and token[-1] == "]":
        return _normal_class(token)
    return f"(?P={token[3:-1]})" if token.startswith(r"\k<") else token


def tokens(pattern: str) -> list[str]:
    """Split a pattern into escapes, character classes and single characters."""
    found = []
    index = 0
    while index < len(pattern):
        end = _token_end(pattern, index)
        found.append(pattern[index:end])
        index = end
    return found


def _token_end(pattern: str, index: int) -> int:
    if pattern[index] == "\\":
        escape = _ESCAPE.match(pattern, index)
        return escape.end() if escape else index + 1
    return _class_end(pattern, index) if pattern[index] == "[" else index + 1


def _class_end(pattern: str, start: int) -> int:
    """Return the index behind a character class; a bracket at its start is one of its characters."""
    first = start + (2 if pattern.startswith("^", start + 1) else 1)
    index = first
    while index < len(pattern):
        if pattern[index] == "]" and (index > first or "]" not in pattern[index + 1 :]):
            return index + 1
        escape = _ESCAPE.match(pattern, index)
        index = escape.end() if escape else index + 1
    return index


def _normal_class(text: str) -> str:
    """Rewrite a character class with its brackets; a hyphen beside a set is a character."""
    head = "[^" if text.startswith("[^") else "["
    inner = [match.group() for match in re.finditer(rf"{_ESCAPE.pattern}|.", text[len(head) : -1], re.DOTALL)]
    kept = []
    for index, token in enumerate(inner):
        beside = inner[max(index - 1, 0) : index + 2]
        alone = token == "-" and any(neighbour.startswith(_SETS) for neighbour in beside)
        kept.append(r"\-" if alone else _INSIDE.get(token, token))
    return f"{head}{''.join(kept)}]"


def _joined(pair: re.Match[str]) -> str:
    """Write a surrogate pair as one character."""
    high, low = int(pair.group(1), 16), int(pair.group(2), 16)
    return f"\\U{0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00):08X}"


def unfolded_length(pattern: str) -> int:
    """Count the characters of a pattern with its counted repetitions written out."""
    total, last = [0], [0]  # of every open group: the length before its last item, and that item's
    for part in re.findall(
        r"\{\d+(?:,\d*)?\}|\(|\)|.", "".join("x" if len(t) > 1 else t for t in tokens(pattern)), re.DOTALL
    ):
        if part == "(":
            total.append(0)
            last.append(0)
        elif part == ")" and len(total) > 1:
            inner = total.pop() + last.pop()
            total[-1] += last[-1]
            last[-1] = inner
        elif part[0] == "{" and len(part) > 1:
            last[-1] *= max(int(number.lstrip("0")[:10] or 0) for number in re.findall(r"\d+", part))
        else:
            total[-1] += last[-1]
            last[-1] = 1
    return total[0] + last[0]
