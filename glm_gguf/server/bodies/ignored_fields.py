"""Fields of requests that are passed over: noted while a request is read, named in a header of its response."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, get_type_hints
from urllib.parse import quote

from fastapi import Request, Response
from pydantic import BaseModel

IGNORED_HEADER: Final = "x-ignored-fields"
"""Names what was passed over, apart by commas and percent-encoded."""
UNENFORCED_HEADER: Final = "x-unenforced"
"""The path of the first keyword of a schema that no grammar enforces: the answer is checked instead."""
MOST_NAMED: Final = 32


def body_models(endpoint: Callable[..., Any]) -> list[type[BaseModel]]:
    """Return the bodies that a handler takes."""
    kinds = [kind for kind in get_type_hints(endpoint).values() if isinstance(kind, type)]
    return [kind for kind in kinds if issubclass(kind, BaseModel)]


def declared_fields(model: type[BaseModel]) -> frozenset[str]:
    """Return the fields of a body, by their names on the wire."""
    return frozenset(field.alias or name for name, field in model.model_fields.items())


def note_ignored(request: Request, names: Iterable[str]) -> None:
    """Have the response name fields of the request that were passed over; the log does once each."""
    ignored = _ignored(request)
    ignored += [name for name in names if name not in ignored]
    request.app.state.service.log_ignored(ignored)


def note_unenforced(request: Request, paths: Iterable[str | None]) -> None:
    """Have the response say that what is asked for can be met in part only."""
    request.state.unenforced = next((path for path in paths if path is not None), None)


def set_headers(request: Request, response: Response) -> None:
    """Name in headers of the response the fields that were passed over, and the keyword that is not enforced."""
    names = _ignored(request)[:MOST_NAMED]
    if names:
        response.headers[IGNORED_HEADER] = ", ".join(quote(name[:64], errors="replace") for name in names)
    path = getattr(request.state, "unenforced", None)
    if path is not None:
        response.headers[UNENFORCED_HEADER] = quote(path[:512], safe="/[]$.", errors="replace")


def _ignored(request: Request) -> list[str]:
    """Return the fields passed over so far; a list that the request keeps."""
    if not hasattr(request.state, "ignored_fields"):
        request.state.ignored_fields = []
    ignored: list[str] = request.state.ignored_fields
    return ignored
