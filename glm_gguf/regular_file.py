"""Files that a user names: opened without a wait, and only where they are files; read up to a bound.

Opening a pipe waits for a writer, and a device such as /dev/zero never ends. Whatever opens or reads a file by a
name that came from outside does it here.
"""

from __future__ import annotations

import os
import stat
from io import BufferedReader

from glm_gguf.errors import GlmGgufError, RequestError

BLOCK = 2**20  # bytes read at once

KINDS = (
    (stat.S_ISDIR, "cannot be read: it is a directory, not a file"),
    (stat.S_ISFIFO, "cannot be read: it is a pipe, not a file"),
    (stat.S_ISSOCK, "cannot be read: it is a socket, not a file"),
)


def open_regular(
    path: str | os.PathLike[str],
    error: type[GlmGgufError] = RequestError,
    fix: str | None = None,
    where: str | None = None,
) -> BufferedReader:
    """Open a file for reading; raises `error` where it is none or cannot be opened, and never waits.

    An error names the file `where`, by default by its path.
    """
    where = os.fspath(path) if where is None else where
    try:
        _check(os.stat(path), where, error, fix)  # before it is opened: opening some devices does something
        file = open(path, "rb", opener=_open_at_once)  # noqa: SIM115 (the caller closes it)
    except OSError as problem:
        raise error(f"cannot be read: {problem.strerror}", path=where, fix=fix) from None
    except ValueError as problem:  # a NUL, or half a character
        raise error(f"this is no path: {problem}", where=repr(os.fspath(path)), fix=fix) from None
    try:
        _check(os.fstat(file.fileno()), where, error, fix)  # it may have become another in between
    except BaseException:
        file.close()
        raise
    return file


def read_regular(
    path: str | os.PathLike[str],
    most_bytes: int,
    error: type[GlmGgufError] = RequestError,
    fix: str | None = None,
    where: str | None = None,
) -> bytes:
    """Read a file whole; raises `error` where it is none, cannot be read, or holds more than `most_bytes`."""
    data, block = bytearray(), b"."
    with open_regular(path, error, fix, where) as file:
        try:
            size = os.fstat(file.fileno()).st_size
            while block and max(size, len(data)) <= most_bytes:  # a size of 0 may be that of a file made as it is read
                block = os.read(file.fileno(), BLOCK)
                data += block
        except OSError as problem:
            raise error(f"cannot be read: {problem.strerror}", path=where or path, fix=fix) from None
    if max(size, len(data)) > most_bytes:
        what = f"it holds more than {most_bytes:,} bytes"
        raise error(what, path=where or path, fix=fix or "is this the file you mean?")
    return bytes(data)


def read_text(
    path: str | os.PathLike[str],
    most_bytes: int,
    error: type[GlmGgufError] = RequestError,
    fix: str | None = None,
    where: str | None = None,
) -> str:
    """Read a UTF-8 text as `read_regular` does; a byte order mark is left out, lines end in a line feed."""
    try:
        text = read_regular(path, most_bytes, error, fix, where).decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        what = f"cannot be read: not UTF-8 at byte {problem.start}"
        raise error(what, path=where or path, fix=fix or "save it as UTF-8") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check(status: os.stat_result, where: str, error: type[GlmGgufError], fix: str | None) -> None:
    """Raise `error` for everything but a regular file."""
    if not stat.S_ISREG(status.st_mode):
        what = next(
            (what for holds, what in KINDS if holds(status.st_mode)), "cannot be read: it is a device, not a file"
        )
        raise error(what, path=where, fix=fix)
