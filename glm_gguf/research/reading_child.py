"""A document, read in a process of its own: `python -m glm_gguf.research.reading_child KIND BYTES`, in so many bytes.

It comes on standard input. Standard output gets one JSON object: `title` and `text`, or what is wrong as `error`.
"""

from __future__ import annotations

import importlib
import io
import json
import sys
from contextlib import suppress
from typing import Any, Final

from glm_gguf.errors import in_one_line

# What pypdf raises beside its own errors for files that break the format.
_FAULTS: Final = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError, OSError)


def main() -> None:
    """Read the document, and write what is in it."""
    kind, most = sys.argv[1], int(sys.argv[2])
    _limit_memory(most)
    try:
        found = {"PDF": _pdf, "page": _page}[kind](sys.stdin.buffer.read())
    except MemoryError:
        found = {"error": f"the {kind} needs more memory than a document may"}
    sys.stdout.write(json.dumps(found))


def _pdf(data: bytes) -> dict[str, Any]:
    import pypdf

    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            return {"error": "the PDF is locked by a password"}
        text = "\n\n".join(page.extract_text() for page in reader.pages)
        title = "" if reader.metadata is None else str(reader.metadata.title or "")
    except (pypdf.errors.PyPdfError, pypdf.errors.DependencyError, *_FAULTS) as error:
        return {"error": f"the PDF cannot be read: {in_one_line(error)}"}
    return {"title": title, "text": text}


def _page(data: bytes) -> dict[str, Any]:
    from glm_gguf.research.page_text import page_title_and_text

    found = page_title_and_text(data.decode())
    if found is None:
        return {"error": "the page cannot be read as HTML, or needs more memory than a document may"}
    title, text = found
    return {"title": title, "text": text}


def _limit_memory(most: int) -> None:
    """Bound this process's memory, where the system can."""
    try:
        resource: Any = importlib.import_module("resource")
    except ImportError:
        return  # Windows
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    with suppress(ValueError, OSError):  # macOS has the name, and no such bound
        resource.setrlimit(resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


if __name__ == "__main__":
    main()
