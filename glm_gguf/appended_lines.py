"""A file of JSON lines that a later run goes on with: lines are added at its end; one that was cut is dropped."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from glm_gguf.errors import OutputError
from glm_gguf.file_calls import FILE_CALLS
from glm_gguf.file_lock import try_lock
from glm_gguf.private_file import open_private
from glm_gguf.regular_file import read_regular


def whole_lines(path: Path, most_bytes: int) -> bytes:
    """Read the lines of a file that end; none of a file that is not there. Raises what `read_regular` raises."""
    data = read_regular(path, most_bytes) if path.exists() else b""
    return data[: data.rfind(b"\n") + 1]


class AppendedLines:
    """The open file, behind its first `n_bytes`; what stands there is dropped, unless it is a line of another process.

    Raises OutputError, also where another process has the file open.
    """

    def __init__(self, path: Path, n_bytes: int) -> None:
        self._path = path
        with self._as_output_error():
            # unbuffered: what a disk does not take is not tried again by close()
            self._file = open(path, "a+b", buffering=0, opener=open_private)  # noqa: SIM115 (close() closes it)
        try:
            with self._as_output_error():
                self._file.seek(n_bytes)
                if try_lock(self._file.fileno()) is False or b"\n" in self._file.read():
                    fix = "wait for its end, or name another file"
                    raise OutputError("another process writes it", path=path, fix=fix)
                self._file.truncate(n_bytes)
        except BaseException:
            self._file.close()
            raise

    def write(self, line: Mapping[str, Any], *, flush_to_disk: bool = False) -> None:
        """Write an object as a line, whole before this returns; on the disk for certain where asked."""
        left = json.dumps(line).encode() + b"\n"
        with self._as_output_error():
            while left:
                left = left[self._file.write(left) :]
            if flush_to_disk:
                FILE_CALLS.flush_for_certain(self._file.fileno())

    @contextmanager
    def _as_output_error(self) -> Iterator[None]:
        """Turn an error of the system into an OutputError."""
        try:
            yield
        except OSError as error:
            raise OutputError(f"cannot be written: {error.strerror}", path=self._path) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()
