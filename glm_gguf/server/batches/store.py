"""Files and batches that outlive the server: their objects in SQLite, the bytes of files beside it."""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

from glm_gguf.errors import OutputError, RequestError
from glm_gguf.file_lock import try_lock
from glm_gguf.private_file import open_private, touch_private
from glm_gguf.server.batches.objects import UNFINISHED, BatchObject, FileObject, Purpose
from glm_gguf.server.batches.settings import BatchSettings
from glm_gguf.server.bodies.wire import new_id
from glm_gguf.server.problem import Problem, Refused

VERSION: Final = 1
_TABLES = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS file (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT UNIQUE, purpose TEXT, bytes INTEGER, expires_at INTEGER, object TEXT
);
CREATE TABLE IF NOT EXISTS batch (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, status TEXT, input TEXT, object TEXT
);
"""
T = TypeVar("T", FileObject, BatchObject)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list, and whether there is more behind it."""

    data: list[T]
    has_more: bool


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which part of a list a client wants."""

    limit: int
    after: str | None = None
    """Identifier of the last object that it has."""
    newest_first: bool = True
    purpose: str | None = None


class BatchStore:
    """The files and batches of one server. The event loop alone calls it."""

    def __init__(self, settings: BatchSettings) -> None:
        """Open the directory, and remove files that a crash left unnamed; raises GlmGgufError."""
        self.settings = settings
        self._files = settings.directory / "files"
        self.work = settings.directory / "work"
        try:
            for directory in (self._files, self.work):
                directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = open(settings.directory / "lock", "ab", opener=open_private)  # noqa: SIM115 (close() closes it)
            touch_private(path := settings.directory / "batches.sqlite")
        except OSError as error:
            raise OutputError(f"cannot be used: {error.strerror}", path=settings.directory) from error
        if try_lock(self._lock.fileno()) is False:
            raise RequestError("another server keeps its batches there", path=settings.directory, fix="name another")
        with self._as_output_error():
            self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            (version,) = self._database.execute("PRAGMA user_version").fetchone()
            if version not in (0, VERSION):
                raise RequestError(f"its version is {version}", path=path, fix="name another directory")
            self._database.executescript(f"{_TABLES}PRAGMA user_version = {VERSION};")
        self._remove_unnamed()

    def close(self) -> None:
        """Let another server have the directory."""
        self._database.close()
        self._lock.close()

    def path(self, file_id: str) -> Path:
        """Return where the bytes of a file lie."""
        return self._files / file_id

    def require_room(self, n_bytes: int) -> None:
        """Refuse an upload for which there is no room."""
        with self._as_output_error():
            count, used = self._database.execute("SELECT count(*), ifnull(sum(bytes), 0) FROM file").fetchone()
        if count >= self.settings.files:
            raise Refused(Problem(400, f"There are {count} files already; delete some.", code="too_many_files"))
        if used + n_bytes > self.settings.total_bytes:
            what = f"{n_bytes} bytes: the files take {used} of {self.settings.total_bytes} already; delete some."
            raise Refused(Problem(400, what, code="storage_full"))

    def add_file(self, file: FileObject) -> None:
        """Name a file whose bytes are there."""
        row = (file.id, file.purpose, file.bytes, file.expires_at, file.model_dump_json())
        with self._as_output_error():
            self._database.execute(
                "INSERT OR REPLACE INTO file (id, purpose, bytes, expires_at, object) VALUES (?, ?, ?, ?, ?)", row
            )

    def file(self, file_id: str) -> FileObject:
        """Return a file; Refused where there is none."""
        with self._as_output_error():
            found = self._database.execute("SELECT object FROM file WHERE id = ?", (file_id,)).fetchone()
        if found is None:
            raise Refused(Problem(404, f"There is no file {file_id[:100]!r}.", param="file_id", code="not_found"))
        return FileObject.model_validate_json(found[0])

    def delete_file(self, file_id: str) -> None:
        """Delete a file; Refused where there is none, or a batch still reads it."""
        self.file(file_id)
        with self._as_output_error():
            query = f"SELECT id FROM batch WHERE input = ? AND status IN {UNFINISHED}"
            reader = self._database.execute(query, (file_id,)).fetchone()
            if reader is not None:
                what = f"{reader[0]} still reads the file; cancel it first."
                raise Refused(Problem(409, what, param="file_id", code="file_in_use"))
            self._database.execute("DELETE FROM file WHERE id = ?", (file_id,))
        self.path(file_id).unlink(missing_ok=True)

    def files(self, page: PageRequest) -> Page[FileObject]:
        """Return a page of files."""
        where = ("purpose = ifnull(?, purpose)", (page.purpose,))
        return self._page("file", FileObject, page, where)

    def batches(self, page: PageRequest) -> Page[BatchObject]:
        """Return a page of batches."""
        return self._page("batch", BatchObject, page, ("?", (1,)))

    def add_batch(self, batch: BatchObject) -> None:
        """Add a batch; Refused where too many are unfinished. The oldest that are over give way."""
        with self._as_output_error():
            over = f"status NOT IN {UNFINISHED}"
            (count,) = self._database.execute(f"SELECT count(*) FROM batch WHERE NOT ({over})").fetchone()
            if count >= self.settings.unfinished:
                raise Refused(Problem(429, f"{count} batches are not over yet.", "rate_limit_error", retry_after=60))
            row = (batch.id, batch.status, batch.input_file_id, batch.model_dump_json())
            self._database.execute("INSERT INTO batch (id, status, input, object) VALUES (?, ?, ?, ?)", row)
            old = f"SELECT number FROM batch WHERE {over} ORDER BY number DESC LIMIT -1 OFFSET ?"
            self._database.execute(f"DELETE FROM batch WHERE number IN ({old})", (self.settings.kept,))

    def batch(self, batch_id: str) -> BatchObject:
        """Return a batch; Refused where there is none."""
        with self._as_output_error():
            found = self._database.execute("SELECT object FROM batch WHERE id = ?", (batch_id,)).fetchone()
        if found is None:
            raise Refused(Problem(404, f"There is no batch {batch_id[:100]!r}.", param="batch_id", code="not_found"))
        return BatchObject.model_validate_json(found[0])

    def update(self, batch: BatchObject, files: tuple[FileObject, ...] = ()) -> None:
        """Write a batch's state, together with the files that it made."""
        with self._as_output_error():
            self._database.execute("BEGIN")
            try:
                for file in files:
                    self.add_file(file)
                row = (batch.status, batch.model_dump_json(), batch.id)
                self._database.execute("UPDATE batch SET status = ?, object = ? WHERE id = ?", row)
            except BaseException:
                if self._database.in_transaction:  # a full disk has ended it
                    self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    def next_batch(self) -> BatchObject | None:
        """Return the oldest batch that is not over."""
        query = f"SELECT object FROM batch WHERE status IN {UNFINISHED} ORDER BY number LIMIT 1"
        with self._as_output_error():
            found = self._database.execute(query).fetchone()
        return None if found is None else BatchObject.model_validate_json(found[0])

    def delete_expired(self) -> None:
        """Delete the files whose time is over, as far as no batch reads them."""
        with self._as_output_error():
            query = "SELECT id FROM file WHERE expires_at < ?"
            expired = [row[0] for row in self._database.execute(query, (int(time.time()),))]
        for file_id in expired:
            with suppress(Refused):
                self.delete_file(file_id)

    def _page(self, table: str, kind: type[T], page: PageRequest, where: tuple[str, tuple[object, ...]]) -> Page[T]:
        """Return a page of a table."""
        condition: str = where[0]
        values: list[object] = list(where[1])
        order, beyond = ("DESC", "<") if page.newest_first else ("ASC", ">")
        with self._as_output_error():
            if page.after is not None:
                found = self._database.execute(f"SELECT number FROM {table} WHERE id = ?", (page.after,)).fetchone()
                if found is None:
                    raise Refused(Problem(400, f"after: there is no {page.after[:100]!r}.", param="after"))
                condition, values = f"{condition} AND number {beyond} ?", [*values, found[0]]
            query = f"SELECT object FROM {table} WHERE {condition} ORDER BY number {order} LIMIT ?"
            rows = self._database.execute(query, (*values, page.limit + 1)).fetchall()
        objects = [kind.model_validate_json(row[0]) for row in rows[: page.limit]]
        return Page(objects, len(rows) > page.limit)

    def _remove_unnamed(self) -> None:
        """Remove the bytes of files that a crash left without a name."""
        with self._as_output_error():
            named = {row[0] for row in self._database.execute("SELECT id FROM file")}
        for path in self._files.iterdir():
            if path.name not in named:
                path.unlink(missing_ok=True)

    @contextmanager
    def _as_output_error(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise OutputError(f"batches cannot be kept: {error}", path=self.settings.directory) from error


def new_file(filename: str, purpose: Purpose, n_bytes: int, kept_seconds: int | None) -> FileObject:
    """Return a new file's object."""
    now = int(time.time())
    expires_at = None if kept_seconds is None else now + kept_seconds
    return FileObject(
        id=f"file-{secrets.token_hex(12)}",
        bytes=n_bytes,
        created_at=now,
        expires_at=expires_at,
        filename=filename,
        purpose=purpose,
    )


def new_batch_id() -> str:
    """Return a new batch's identifier."""
    return new_id("batch_")
