"""Read JSON files strictly: UTF-8, no duplicate keys, an object at the root."""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from pathlib import Path
from reprlib import Repr
from typing import Any

from glm_gguf.errors import GlmGgufError
from glm_gguf.regular_file import read_regular
from glm_gguf.strict_json import unique

LFS_POINTER = b"version https://git-lfs"
"""Start of the text that git leaves in place of a large file that it has not fetched."""

MOST_BYTES = 2**28
"""Largest JSON file in bytes: ten times the largest tokenizer.json in use."""

SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
"""The escape of half a character, which UTF-8 cannot hold alone."""


def parse_object(data: bytes, where: object, error: type[GlmGgufError]) -> dict[str, Any]:
    """Decode `data` as one JSON object; for anything else raises `error`, which names `where`."""
    refuse_pointer(data, where, error)
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=unique)
        if SURROGATE.search(data):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError as problem:
        raise error(f"not UTF-8 at byte {problem.start}", path=str(where), fix="fetch the file again") from None
    except UnicodeEncodeError as problem:
        half = problem.object[problem.start]
        raise error(
            f"a text holds {half!a}, which is half a character", path=str(where), fix="fetch the file again"
        ) from None
    except (ValueError, RecursionError) as problem:
        raise error(f"not valid JSON: {_reason(problem)}", path=str(where), fix="fetch the file again") from None
    if not isinstance(value, dict):
        raise error(f"a JSON object is expected, not {type(value).__name__}", path=str(where))
    return value


def read_object(path: Path, error: type[GlmGgufError], where: str | None = None) -> dict[str, Any]:
    """Read the JSON object in the file at `path`, behind a byte order mark or not.

    Raises `error`, which names the file `where` if it is not to be named by its path.
    """
    data = read_regular(path, MOST_BYTES, error, where=where).removeprefix(BOM_UTF8)
    return parse_object(data, where or path, error)


def refuse_pointer(data: bytes, where: object, error: type[GlmGgufError]) -> None:
    """Raise `error` for a pointer of git-lfs in place of the file."""
    if data.startswith(LFS_POINTER):
        raise error("this is a git-lfs pointer, not the file", path=str(where), fix="run git lfs pull")


def short_repr(value: object) -> str:
    """A short repr of any value, for errors."""
    short = Repr()
    short.maxstring = short.maxother = short.maxlong = 80
    short.maxlevel = 3
    return short.repr(value)


def _reason(problem: Exception) -> str:
    return "nested too deeply" if isinstance(problem, RecursionError) else str(problem)
