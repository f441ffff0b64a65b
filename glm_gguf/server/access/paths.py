"""Paths as clients write them: without /v1, with one too many, with doubled slashes or one at the end; HEAD as GET."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

VERSION: Final = "/v1"
ALIKE: Final = 0.6
"""Least similarity of a suggested path (difflib's ratio)."""
LONGEST: Final = 200
"""Characters of a path that a suggestion considers."""


def served_paths(routes: Iterable[BaseRoute]) -> frozenset[str]:
    """Return the paths of routes, up to the first parameter."""
    paths = (getattr(route, "path", "") for route in routes)
    return frozenset(path.partition("{")[0] for path in paths if path)


def head_paths(routes: Iterable[BaseRoute]) -> frozenset[str]:
    """Return the paths of the routes that answer HEAD themselves."""
    return served_paths(route for route in routes if "HEAD" in (getattr(route, "methods", None) or ()))


class PathMiddleware:
    """Rewrites a request's path to the meant route, and HEAD to GET, before anything else reads them.

    The HTTP server keeps the scope of the connection, and sends no body where that says HEAD. Paths in `heads` have a
    route for it.
    """

    def __init__(self, app: ASGIApp, paths: frozenset[str], heads: frozenset[str]) -> None:
        self._app = app
        self._paths = paths
        self._heads = heads
        self._open_heads = tuple(path for path in heads if path.endswith("/") and path != "/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] == "http":
            scope["path"] = meant_path(scope["path"], self._paths)
            known = scope["path"] in self._heads or scope["path"].startswith(self._open_heads)
            if scope["method"] == "HEAD" and not known:
                scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)


def meant_path(path: str, paths: frozenset[str]) -> str:
    """Return the served path that a request means, or its path unchanged."""
    plain = re.sub(r"/{2,}", "/", path)
    short = plain.rstrip("/") or "/"
    while short.startswith(f"{VERSION}{VERSION}/"):
        short = short.removeprefix(VERSION)
    for candidate in (short, f"{VERSION}{short}", short.removeprefix(VERSION)):
        if candidate in paths:
            return candidate
    open_ended = tuple(known for known in paths if known.endswith("/") and known != "/")
    versioned = f"{VERSION}{short}"
    return versioned if versioned.startswith(open_ended) and not short.startswith(open_ended) else plain


def nearest_path(path: str, paths: Iterable[str]) -> str | None:
    """Return the most similar served path; None if none is similar."""
    known = sorted(paths)
    like = get_close_matches(path[:LONGEST].lower(), [*known, *(one.removeprefix(VERSION) for one in known)], 1, ALIKE)
    return None if not like else like[0] if like[0] in known else f"{VERSION}{like[0]}"
