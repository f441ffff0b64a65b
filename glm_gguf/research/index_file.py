"""The index of a folder: an SQLite file of documents, their passages, and an FTS5 table of the passages' terms.

Each change is a transaction of SQLite's, in its write-ahead log: a killed process leaves the last complete one. The
FTS5 table keeps no text of its own. A passage is removed from it by the same terms with which it was added, so a change
of search_terms.indexed_text needs another VERSION.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from glm_gguf.errors import CorpusError
from glm_gguf.private_file import touch_private
from glm_gguf.research.document_text import DocumentText
from glm_gguf.research.folder_scan import FileState
from glm_gguf.research.passages import passages
from glm_gguf.research.search_terms import indexed_text

APPLICATION_ID: Final = 0x474C4D72
"""In the file's head; `GLMr`."""
VERSION: Final = 2
"""Raised by a change of what the index holds of a document, or of which files are documents: old ones are made anew."""
BUSY_SECONDS: Final = 60.0
TITLE_WEIGHT: Final = 4.0
"""Weight of a term in the title, beside 1 in the passage."""
_SCHEMA: Final = """
CREATE TABLE folder (path TEXT NOT NULL);
CREATE TABLE documents (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    read_ns INTEGER NOT NULL, digest BLOB NOT NULL, title TEXT NOT NULL, fault TEXT
);
CREATE TABLE passages (
    id INTEGER PRIMARY KEY, document INTEGER NOT NULL REFERENCES documents (id), text TEXT NOT NULL
);
CREATE INDEX passages_of_document ON passages (document, id);
CREATE VIRTUAL TABLE terms USING fts5 (title, body, content='', tokenize='porter unicode61 remove_diacritics 2');
"""
_REMOVAL: Final = "INSERT INTO terms (terms, rowid, title, body) VALUES ('delete', ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class IndexedDocument:
    """A document as the index has it: its file's state when it was read, and the SHA-256 of its bytes."""

    id: int
    state: FileState
    read_ns: int
    digest: bytes
    title: str
    fault: str | None


@dataclass(frozen=True, slots=True)
class RankedPassage:
    """A passage that fits a query, and its document. Passages come in the order of BM25."""

    path: str
    title: str
    text: str


class IndexFile:
    """An open index of one folder. Each thread opens its own; several processes may read and write."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.path = path
        with self._as_corpus_error():
            path.parent.mkdir(parents=True, exist_ok=True)
            touch_private(path)
            self._database = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
            try:
                self._prepare(str(folder))
            except BaseException:
                self._database.close()
                raise

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def documents(self) -> dict[str, IndexedDocument]:
        """Return all documents by path."""
        fields = "id, path, size, mtime_ns, read_ns, digest, title, fault"
        with self._as_corpus_error():
            rows = self._database.execute(f"SELECT {fields} FROM documents").fetchall()
        return {row[1]: IndexedDocument(row[0], FileState(*row[1:4]), *row[4:]) for row in rows}

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all changes within it at once, or none of them."""
        with self._as_corpus_error():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self._database.in_transaction:  # a full disk has ended it
                    self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    def put(self, state: FileState, read_ns: int, digest: bytes, document: DocumentText | str) -> None:
        """Add a document in place of the one at its path; a text says why it could not be read."""
        self.remove(state.path)
        fault = document if isinstance(document, str) else None
        title, text = ("", "") if isinstance(document, str) else (document.title, document.text)
        fields = (state.path, state.size, state.mtime_ns, read_ns, digest, title, fault)
        names = "path, size, mtime_ns, read_ns, digest, title, fault"
        insert = f"INSERT INTO documents ({names}) VALUES (?, ?, ?, ?, ?, ?, ?)"
        number = self._database.execute(insert, fields).lastrowid
        for passage in passages(text):
            added = "INSERT INTO passages (document, text) VALUES (?, ?)"
            row = self._database.execute(added, (number, passage)).lastrowid
            terms = (row, indexed_text(title), indexed_text(passage))
            self._database.execute("INSERT INTO terms (rowid, title, body) VALUES (?, ?, ?)", terms)

    def touch(self, state: FileState, read_ns: int) -> None:
        """Record a new time of a file whose bytes are the same."""
        change = "UPDATE documents SET size = ?, mtime_ns = ?, read_ns = ? WHERE path = ?"
        self._database.execute(change, (state.size, state.mtime_ns, read_ns, state.path))

    def remove(self, path: str) -> None:
        """Remove a document, if it is there."""
        found = self._database.execute("SELECT id, title FROM documents WHERE path = ?", (path,)).fetchone()
        if found is None:
            return
        number, title = found
        for row, text in self._database.execute(
            "SELECT id, text FROM passages WHERE document = ?", (number,)
        ).fetchall():
            self._database.execute(_REMOVAL, (row, indexed_text(title), indexed_text(text)))
        self._database.execute("DELETE FROM passages WHERE document = ?", (number,))
        self._database.execute("DELETE FROM documents WHERE id = ?", (number,))

    def count(self, expression: str) -> int:
        """Return the number of passages that fit an expression of FTS5's."""
        with self._as_corpus_error():
            found = self._database.execute("SELECT count(*) FROM terms WHERE terms MATCH ?", (expression,)).fetchone()
        return int(found[0])

    def ranked(self, expressions: Sequence[str], most: int) -> list[RankedPassage]:
        """Return the passages that fit any of the expressions, the best by BM25 first."""
        query = """
            SELECT documents.path, documents.title, passages.text
            FROM (SELECT rowid AS row, bm25(terms, ?, 1.0) AS cost FROM terms WHERE terms MATCH ? ORDER BY cost LIMIT ?)
            JOIN passages ON passages.id = row JOIN documents ON documents.id = passages.document ORDER BY cost
        """
        with self._as_corpus_error():
            rows = self._database.execute(query, (TITLE_WEIGHT, " OR ".join(expressions), most))
            return [RankedPassage(*row) for row in rows]

    def document(self, path: str) -> DocumentText | None:
        """Return a document's title and text; None if the index has none at that path."""
        with self._as_corpus_error():
            found = self._database.execute("SELECT id, title FROM documents WHERE path = ? AND fault IS NULL", (path,))
            row = found.fetchone()
            if row is None:
                return None
            texts = self._database.execute("SELECT text FROM passages WHERE document = ? ORDER BY id", (row[0],))
            return DocumentText(row[1], "".join(text for (text,) in texts))

    def _prepare(self, folder: str) -> None:
        """Make the tables of a new file, or of one of another version; refuse a file of another program or folder."""
        (identity,), (version,) = (self._pragma("application_id"), self._pragma("user_version"))
        (tables,) = self._database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and identity != APPLICATION_ID:
            raise CorpusError("this is a database of another program", path=self.path, fix="name another file")
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        if version != VERSION:
            with self.transaction():
                if self._pragma("user_version")[0] != VERSION:  # else another process has made the tables meanwhile
                    self._make_tables(folder)
        (indexed,) = self._database.execute("SELECT path FROM folder").fetchone()
        if indexed != folder:
            raise CorpusError(f"this is the index of {indexed}", path=self.path, fix="name another file")

    def _pragma(self, name: str) -> tuple[int]:
        (value,) = self._database.execute(f"PRAGMA {name}").fetchone()
        return (int(value),)

    def _make_tables(self, folder: str) -> None:
        for name in ("terms", "passages", "documents", "folder"):
            self._database.execute(f"DROP TABLE IF EXISTS {name}")
        for statement in _SCHEMA.strip().split(";\n"):
            if statement:
                self._database.execute(statement.removesuffix(";"))
        self._database.execute("INSERT INTO folder (path) VALUES (?)", (folder,))
        self._database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        self._database.execute(f"PRAGMA user_version = {VERSION}")

    @contextmanager
    def _as_corpus_error(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise CorpusError(f"the index cannot be used: {error}", path=self.path) from error
        except sqlite3.DatabaseError as error:
            fix = "remove the file: the index is made again"
            raise CorpusError(f"the index is damaged: {error}", path=self.path, fix=fix) from error
        except OSError as error:
            raise CorpusError(f"the index cannot be used: {error.strerror}", path=error.filename) from error
