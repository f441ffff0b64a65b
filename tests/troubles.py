"""Faults between a hub and its clients."""

from __future__ import annotations

import re
from dataclasses import replace

from hub_server import Reply, Trouble


def refuse(status: int, **headers: str) -> Trouble:
    """An error status."""
    return lambda reply: Reply(status, {key.replace("_", "-"): value for key, value in headers.items()})


def cut(after: int) -> Trouble:
    """A connection that breaks after some bytes."""
    return lambda reply: replace(reply, sent=after)


def shorten(n_bytes: int) -> Trouble:
    """A body that is too short, with its true length."""
    return lambda reply: replace(reply, body=reply.body[:n_bytes])


def flip(reply: Reply) -> Reply:
    """One wrong bit, far behind the header."""
    return replace(reply, body=reply.body[:-9] + bytes([reply.body[-9] ^ 1]) + reply.body[-8:])


def ignore_range(reply: Reply) -> Reply:
    """The whole file instead of a range."""
    return Reply(200, {}, reply.full, reply.full)


def misplace(reply: Reply) -> Reply:
    """Another range of the file."""
    moved = re.sub(r"bytes (\d+)", lambda match: f"bytes {int(match[1]) + 1}", reply.headers["Content-Range"])
    return replace(reply, headers={**reply.headers, "Content-Range": moved})


def be_silent(reply: Reply) -> Reply:
    """No answer at all."""
    return replace(reply, silent=True)


def compress(reply: Reply) -> Reply:
    """A compressed body."""
    return replace(reply, headers={**reply.headers, "Content-Encoding": "gzip"})


def redirect(location: str) -> Trouble:
    """A redirect to another address."""
    return lambda reply: Reply(302, {"Location": location})
