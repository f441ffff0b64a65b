"""Ignored fields: collected while a request is read, named in a header of its response."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, get_type_hints
from urllib.parse import quote

from fastapi import Request, Response
from pydantic import BaseModel

IGNORED_HEADER: Final = "x-ignored-fields"
"""Lists the ignored fields, percent-encoded and separated by commas."""
UNENFORCED_HEADER: Final = "x-unenforced"
"""The path of the first keyword of a schema that no grammar enforces: the answer is checked instead."""
MOST_NAMED: Final = 32


def body_models(endpoint: Callable[..., Any]) -> list[type[BaseModel]]:
    """Return the body models that a handler takes."""
    kinds = [kind for kind in get_type_hints(endpoint).values() if isinstance(kind, type)]
    return [kind for kind in kinds if issubclass(kind, BaseModel)]


def declared_fields(model: type[BaseModel]) -> frozenset[str]:
    """Return the fields of a body, by their names on the wire."""
    return frozenset(field.alias or name for name, field in model.model_fields.items())


def note_ignored(request: Request, names: Iterable[str]) -> None:
    """Record ignored fields for the response's header; the log names each once."""
    ignored = _ignored(request)
    ignored += [name for name in names if name not in ignored]
    request.app.state.service.log_ignored(ignored)


def note_unenforced(request: Request, paths: Iterable[str | None]) -> None:
    """Record the first keyword that no grammar enforces, for the response's header."""
    request.state.unenforced = next((path for path in paths if path is not None), None)


def set_headers(request: Request, response: Response) -> None:
    """Write the ignored fields and the unenforced keyword into headers of the response."""
    names = _ignored(request)[:MOST_NAMED]
    if names:
        response.headers[IGNORED_HEADER] = ", ".join(quote(name[:64], errors="replace") for name in names)
    path = getattr(request.state, "unenforced", None)
    if path is not None:
        response.headers[UNENFORCED_HEADER] = quote(path[:512], safe="/[]$.", errors="replace")


def _ignored(request: Request) -> list[str]:
    """Return the request's own list of ignored fields."""
    if not hasattr(request.state, "ignored_fields"):
        request.state.ignored_fields = []
    ignored: list[str] = request.state.ignored_fields
    return ignored
