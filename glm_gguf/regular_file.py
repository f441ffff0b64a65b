"""Open and read files that a user names: regular files only, without waiting, up to a bound.

Opening a pipe would wait for a writer, and a device such as /dev/zero never ends. All code that opens a file by a name
from outside does it here.
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
    """Open a file for reading, without waiting; raises `error` if it is no regular file or cannot be opened.

    An error names the file `where`; by default that is its path.
    """
    where = os.fspath(path) if where is None else where
    try:
        _check(os.stat(path), where, error, fix)  # first: opening a device may have an effect
        file = open(path, "rb", opener=_open_at_once)  # noqa: SIM115 (the caller closes it)
    except OSError as problem:
        raise error(f"cannot be read: {problem.strerror}", path=where, fix=fix) from None
    except ValueError as problem:  # a NUL, or half a character
        raise error(f"this is no path: {problem}", where=repr(os.fspath(path)), fix=fix) from None
    try:
        _check(os.fstat(file.fileno()), where, error, fix)  # another file may have taken its name
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
    """Read a whole file; raises `error` if it is no regular file, cannot be read, or has more than `most_bytes`."""
    data, block = bytearray(), b"."
    with open_regular(path, error, fix, where) as file:
        try:
            size = os.fstat(file.fileno()).st_size
            while block and max(size, len(data)) <= most_bytes:  # files of /proc have the size 0
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
    """Read a UTF-8 text as `read_regular` does, without its byte order mark and with line feeds as line ends."""
    try:
        text = read_regular(path, most_bytes, error, fix, where).decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        what = f"cannot be read: not UTF-8 at byte {problem.start}"
        raise error(what, path=where or path, fix=fix or "save it as UTF-8") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check(status: os.stat_result, where: str, error: type[GlmGgufError], fix: str | None) -> None:
    """Raise `error` unless it is a regular file."""
    if not stat.S_ISREG(status.st_mode):
        what = next(
            (what for holds, what in KINDS if holds(status.st_mode)), "cannot be read: it is a device, not a file"
        )
        raise error(what, path=where, fix=fix)
