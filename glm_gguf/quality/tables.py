"""Tables as Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

MOST_SHOWN: Final = 200
"""Characters of a value."""
CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    """Write a table whose first columns are `texts` and stand left; the others stand right, as numbers do."""
    marks = (*("---" for _ in header[:texts]), *("---:" for _ in header[texts:]))
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, marks, *rows))


def plain(value: str) -> str:
    """Return what a file or a name says in one line, without Markdown, HTML or control characters of its own."""
    return re.sub(r"([\\`*\[\]<>|#&~$]|(?<!\w)_|_(?!\w))", r"\\\1", one_line(value))


def shown(value: str) -> str:
    """Return the beginning of a text, as `plain` does."""
    return plain(one_line(value)[:MOST_SHOWN])


def code(value: str) -> str:
    """Return a name as code in a cell of a table."""
    return "`" + one_line(value).replace("`", "'").replace("|", "\\|") + "`"


def one_line(value: str) -> str:
    """Return a text in one line, without control characters."""
    return CONTROL.sub("", " ".join(value.split()))
