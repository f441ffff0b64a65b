"""Where each line of an input and its result lie: in SQLite, so that memory does not grow with them."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Final, Self

from glm_gguf.errors import OutputError
from glm_gguf.private_file import touch_private

_APPLICATION_ID: Final = 0x676C6D62
_TABLES = f"""
PRAGMA journal_mode = OFF;
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA synchronous = OFF;
CREATE TABLE line (number INTEGER PRIMARY KEY, offset INTEGER, length INTEGER, id BLOB UNIQUE, block INTEGER);
CREATE INDEX line_of_block ON line (block);
CREATE TABLE block (parent INTEGER, text BLOB, id INTEGER, PRIMARY KEY (parent, text)) WITHOUT ROWID;
CREATE TABLE result (number INTEGER PRIMARY KEY, offset INTEGER, length INTEGER, ok INTEGER);
"""
"""It is made anew at every start: a crash may leave it broken. Blocks are a tree, so that a shared one is kept once."""
ROOT: Final = 0
"""The block before all others."""


@dataclass(frozen=True, slots=True)
class Extent:
    """Bytes of a file."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class PlacedLine:
    """A line, and where it lies."""

    number: int
    """From 1."""
    extent: Extent


def is_index(path: Path) -> bool:
    """Tell whether a file is an index, or the empty beginning of one."""
    with open(path, "rb") as file:
        header = file.read(100)
    return not header or (header.startswith(b"SQLite format 3\0") and header[68:72] == _APPLICATION_ID.to_bytes(4))


class LineIndex:
    """An index of one run. One thread uses it at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last: list[tuple[bytes, int]] = []
        """The blocks of the last line, and their ids: the next line often shares them."""
        self._n_blocks = ROOT
        with self._as_output_error():
            path.unlink(missing_ok=True)
            touch_private(path)
            self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._database.executescript(_TABLES)
            self._database.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the file."""
        self._database.close()
        self._path.unlink(missing_ok=True)

    def add(self, line: PlacedLine, custom_id: str, blocks: Sequence[str]) -> bool:
        """Add a line and the blocks of its prompt; False where its custom_id is there already."""
        block = self._block_of([block.encode("utf-8", "surrogatepass") for block in blocks])
        row = (line.number, line.extent.offset, line.extent.length, _digest(custom_id), block)
        with self._as_output_error():
            return self._database.execute("INSERT OR IGNORE INTO line VALUES (?, ?, ?, ?, ?)", row).rowcount == 1

    def number_of(self, custom_id: str) -> int | None:
        """Return the number of the line with a custom_id; None for none."""
        with self._as_output_error():
            found = self._database.execute("SELECT number FROM line WHERE id = ?", (_digest(custom_id),)).fetchone()
        return None if found is None else int(found[0])

    def note_result(self, number: int, extent: Extent, *, ok: bool) -> bool:
        """Note where a line's result lies; False where there is one already."""
        row = (number, extent.offset, extent.length, ok)
        with self._as_output_error():
            return self._database.execute("INSERT OR IGNORE INTO result VALUES (?, ?, ?, ?)", row).rowcount == 1

    def pending(self) -> Iterator[PlacedLine]:
        """Yield the lines without a result in the order of their prompts: shared beginnings follow one another."""
        lines = """SELECT number, offset, length FROM line WHERE block = ?
            AND number NOT IN (SELECT number FROM result) ORDER BY number"""
        below = "SELECT id FROM block WHERE parent = ? ORDER BY text"
        with self._as_output_error():
            walk = [iter([(ROOT,)])]
            while walk:
                if (found := next(walk[-1], None)) is None:
                    walk.pop()
                    continue
                for number, offset, length in self._database.execute(lines, found):
                    yield PlacedLine(number, Extent(offset, length))
                walk.append(self._database.execute(below, found))

    def results(self, *, ok: bool | None = None) -> Iterator[Extent]:
        """Yield where the results lie, in the order of the input: all, or only the good or the failed ones."""
        query = "SELECT offset, length FROM result WHERE ok = ifnull(?, ok) ORDER BY number"
        with self._as_output_error():
            for offset, length in self._database.execute(query, (ok,)):
                yield Extent(offset, length)

    def count_results(self, *, ok: bool) -> int:
        """Count the good results, or the failed ones."""
        with self._as_output_error():
            return int(self._database.execute("SELECT count(*) FROM result WHERE ok = ?", (ok,)).fetchone()[0])

    def _block_of(self, texts: Sequence[bytes]) -> int:
        """Return the id of the last of these blocks; new ones are added."""
        pairs = zip(texts, self._last, strict=False)
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1][0], pairs))
        del self._last[same:]
        for text in texts[len(self._last) :]:
            parent = self._last[-1][1] if self._last else ROOT
            with self._as_output_error():
                query = "SELECT id FROM block WHERE parent = ? AND text = ?"
                found = self._database.execute(query, (parent, text)).fetchone()
                if found is None:
                    self._n_blocks += 1
                    found = (self._n_blocks,)
                    self._database.execute("INSERT INTO block VALUES (?, ?, ?)", (parent, text, found[0]))
            self._last.append((text, found[0]))
        return self._last[-1][1] if self._last else ROOT

    @contextmanager
    def _as_output_error(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            fix = "free some space, and run it again: what is answered is kept"
            raise OutputError(f"the index of the batch cannot be written: {error}", path=self._path, fix=fix) from error


def _digest(custom_id: str) -> bytes:
    return hashlib.blake2b(custom_id.encode("utf-8", "surrogatepass"), digest_size=16).digest()
