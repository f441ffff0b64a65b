"""JSON files of a checkpoint, read strictly: UTF-8, no duplicate keys, an object at the root."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from glm_gguf.errors import SourceError


def parse_object(data: bytes, where: object, error: type[SourceError]) -> dict[str, Any]:
    """Decode `data` as one JSON object; raises `error` naming `where` for anything else."""
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_unique)
    except UnicodeDecodeError as problem:
        raise error(f"not UTF-8 at byte {problem.start}", where=where, fix="fetch the file again") from None
    except (ValueError, RecursionError) as problem:
        raise error(f"not valid JSON: {_reason(problem)}", where=where, fix="fetch the file again") from None
    if not isinstance(value, dict):
        raise error(f"a JSON object is expected, not {type(value).__name__}", where=where)
    return value


def read_object(path: Path, error: type[SourceError]) -> dict[str, Any]:
    """Read the JSON object in the file at `path`; raises `error` if it cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as problem:
        raise error(f"cannot be read: {problem.strerror}", where=path) from None
    return parse_object(data, path, error)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        doubled = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {doubled[:80]!r} stands twice in one object")
    return result


def _reason(problem: Exception) -> str:
    return "nested too deeply" if isinstance(problem, RecursionError) else str(problem)
