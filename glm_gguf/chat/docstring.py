"""A docstring's texts about a function and its parameters, in Google's, Sphinx's or numpy's style."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_GOOGLE_SECTION = re.compile(r"(?m)^(?:Args|Arguments|Parameters):\s*\n(?P<body>(?:[ \t]+\S.*\n?|[ \t]*\n)+)")
_GOOGLE_ITEM = re.compile(r"(?P<indent>\s+)\*{0,2}(?P<name>\w+)(?:\s*\([^)]*\))?:\s*(?P<text>.*)")
_SPHINX_ITEM = re.compile(r"(?m)^:param(?:\s+[^:\n]*?)?\s*(?P<name>\w+):\s*(?P<text>.*(?:\n[ \t]+\S.*)*)")
_NUMPY_SECTION = re.compile(r"(?m)^Parameters\n-+\n(?P<body>(?:\S.*\n(?:[ \t]+\S.*\n?|[ \t]*\n)*)+)")
_NUMPY_ITEM = re.compile(r"(?m)^(?P<name>\w+)\s*(?::.*)?\n(?P<text>(?:[ \t]+\S.*\n?)+)")


@dataclass(frozen=True, slots=True)
class Documentation:
    """The first paragraph, and the text of each documented parameter; line breaks become spaces."""

    summary: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)


def read_docstring(text: str) -> Documentation:
    """Read a docstring as inspect.getdoc dedents it."""
    summary = re.split(r"\n\s*\n|\n:param|\n(?:Args|Arguments|Parameters):", text.strip(), maxsplit=1)[0]
    return Documentation(_line(summary), _google(text) or _sphinx(text) or _numpy(text))


def _google(text: str) -> dict[str, str]:
    section = _GOOGLE_SECTION.search(text + "\n")
    found: dict[str, str] = {}
    name, indent = "", None
    for line in section["body"].splitlines() if section else ():
        item = _GOOGLE_ITEM.fullmatch(line)
        if item is not None and indent in (None, item["indent"]):
            name, indent = item["name"], item["indent"]
            found[name] = item["text"]
        elif name:
            found[name] += " " + line
    return {name: _line(words) for name, words in found.items()}


def _sphinx(text: str) -> dict[str, str]:
    return {item["name"]: _line(item["text"]) for item in _SPHINX_ITEM.finditer(text)}


def _numpy(text: str) -> dict[str, str]:
    section = _NUMPY_SECTION.search(text + "\n")
    return {item["name"]: _line(item["text"]) for item in _NUMPY_ITEM.finditer(section["body"])} if section else {}


def _line(text: str) -> str:
    return " ".join(text.split())
