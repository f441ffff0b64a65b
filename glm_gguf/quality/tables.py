"""Tables as Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    """Write a table whose first columns are `texts` and stand left; the others stand right, as numbers do."""
    marks = (*("---" for _ in header[:texts]), *("---:" for _ in header[texts:]))
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, marks, *rows))
