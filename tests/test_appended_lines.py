"""A file of lines that a later run goes on with has one writer at a time."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from glm_gguf.appended_lines import AppendedLines
from glm_gguf.errors import OutputError


@contextmanager
def most_bytes(count: int) -> Iterator[None]:
    """A limit of file size, as a disk has that takes no more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_second_writer_is_refused_and_drops_nothing(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    with closing(AppendedLines(path, 0)) as first:
        first.write({"id": 1})
        with pytest.raises(OutputError, match="another process writes it"):
            AppendedLines(path, 0)
        first.write({"id": 2})
    assert path.read_bytes() == b'{"id": 1}\n{"id": 2}\n'
    with pytest.raises(OutputError, match="another process writes it"):
        AppendedLines(path, 10)
    with closing(AppendedLines(path, 20)) as later:
        later.write({"id": 3})
    assert path.read_bytes() == b'{"id": 1}\n{"id": 2}\n{"id": 3}\n'


def test_a_disk_that_takes_no_more_is_told_also_when_the_file_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    file = AppendedLines(path, 0)
    file.write({"id": 1})
    told = pytest.raises(OutputError, match="cannot be written: File too large")
    with most_bytes(15), told, closing(file):
        file.write({"id": 2})
    assert path.read_bytes().startswith(b'{"id": 1}\n')
