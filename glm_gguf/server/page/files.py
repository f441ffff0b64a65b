"""The page's files, read once; a request gets one of them or a 404."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import PurePosixPath

MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
PLAIN = "text/plain; charset=utf-8"
"""Licences and the list of versions."""


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file, as the server sends it."""

    body: bytes
    media_type: str
    etag: str


def page_files() -> Mapping[str, PageFile]:
    """Return every static file by its path below `static/`, such as `style/base.css`."""
    return {name: _page_file(name, node.read_bytes()) for name, node in _walk(files(__package__) / "static", "")}


def _page_file(name: str, body: bytes) -> PageFile:
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    return PageFile(body, MEDIA_TYPES.get(PurePosixPath(name).suffix, PLAIN), etag)


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for node in folder.iterdir():
        if node.is_dir():
            yield from _walk(node, f"{prefix}{node.name}/")
        else:
            yield f"{prefix}{node.name}", node
