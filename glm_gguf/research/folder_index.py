"""A folder of documents as a corpus: an index beside it, brought up to date by what has changed."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from glm_gguf.errors import CorpusError, RequestError
from glm_gguf.home_directory import user_path
from glm_gguf.regular_file import read_regular
from glm_gguf.research.corpus import Hit, Page
from glm_gguf.research.document_text import DocumentText, document_text
from glm_gguf.research.folder_scan import FileState, is_unicode, scan
from glm_gguf.research.index_file import IndexedDocument, IndexFile
from glm_gguf.research.passages import snippet
from glm_gguf.research.search_terms import query_expressions, words

MOST_BYTES: Final = 2**26
"""Bytes of a document; larger ones are named as unread."""
TOGETHER: Final = 64
"""Documents of one transaction. A killed process loses them at most."""
MOST_NAME: Final = 200
"""Bytes of a folder's name in that of its index: a file's name has up to 255."""
RARE: Final = 8
"""One of so many terms of a query ranks a second time, the rarest."""
PASSAGES_A_HIT: Final = 8
"""Passages that are ranked for each wanted hit: several may belong to one document."""


@dataclass(frozen=True, slots=True)
class IndexUpdate:
    """What an update has changed, counted in documents."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    unread: tuple[tuple[str, str], ...] = ()
    """Path of each document that could not be read, and why."""


@dataclass(frozen=True, slots=True)
class _Read:
    """A document that was read: its bytes' hash, and its text, or why it has none; None where the bytes are known."""

    state: FileState
    read_ns: int
    digest: bytes
    document: DocumentText | str | None


class FolderIndex:
    """The Markdown, text, HTML and PDF files of a folder, searched by BM25 over their passages.

    `index` is the SQLite file, by default one in the user's cache. `update` brings it up to date; a search reads it as
    it is. One thread uses a FolderIndex; several processes may update one index. Raises CorpusError.
    """

    def __init__(self, folder: str | os.PathLike[str], index: str | os.PathLike[str] | None = None) -> None:
        self.folder = Path(folder).absolute()
        if not self.folder.is_dir():
            raise CorpusError("there is no such folder", path=self.folder, fix="name a folder of documents")
        if not is_unicode(str(self.folder)):
            raise CorpusError(f"{str(self.folder)!r} is not UTF-8", fix="rename the folder")
        self._file = IndexFile(_cached(self.folder) if index is None else Path(index).absolute(), self.folder)

    @property
    def index(self) -> Path:
        """The SQLite file."""
        return self._file.path

    def update(self, progress: Callable[[int], None] | None = None) -> IndexUpdate:
        """Read what is new or changed, and remove what is gone; `progress` is told how many documents it has seen."""
        known = self._file.documents()
        seen: set[str] = set()
        counts = dict.fromkeys(("added", "changed", "unchanged"), 0)
        looked_at = self._looked_at(known)
        while group := list(islice(looked_at, TOGETHER)):
            with self._file.transaction():
                for read, kind in group:
                    self._record(read)
                    seen.add(read.state.path)
                    counts[kind] += 1
            if progress is not None:
                progress(len(seen))
        gone = known.keys() - seen
        with self._file.transaction():
            for path in gone:
                self._file.remove(path)
        faults = ((one.state.path, one.fault) for one in self._file.documents().values())
        unread = tuple(sorted((path, fault) for path, fault in faults if fault is not None))
        return IndexUpdate(**counts, removed=len(gone), unread=unread)

    def search(self, query: str, most: int = 10) -> Sequence[Hit]:
        """Return the documents whose passages fit a query, the best first."""
        expressions = query_expressions(query)
        if not expressions or most < 1:
            return []
        choices = expressions, self._rare(expressions)
        rankings = [self._file.ranked(terms, most * PASSAGES_A_HIT) for terms in choices]
        wanted = words(query)
        hits: dict[str, Hit] = {}
        for passage in chain.from_iterable(zip_longest(*rankings)):
            if passage is not None and passage.path not in hits and len(hits) < most:
                hits[passage.path] = Hit(passage.title, passage.path, snippet(passage.text, wanted))
        return list(hits.values())

    def _rare(self, expressions: Sequence[str]) -> list[str]:
        """Return the rarest terms of a query, one in RARE.

        A question shares most of its terms with all texts about its kind of subject. Those may outweigh the name that
        it asks for, above all in Chinese, where a few words make many bigrams.
        """
        counts = {expression: self._file.count(expression) for expression in expressions}
        known = sorted((expression for expression in expressions if counts[expression]), key=counts.__getitem__)
        return known[: -(-len(expressions) // RARE)] or list(expressions)

    def open(self, address: str) -> Page:
        """Return a document by its path below the folder."""
        found = self._file.document(address)
        if found is None:
            raise CorpusError("there is no such document", where=address, fix="open the address of a hit")
        return Page(found.title, address, found.text)

    def close(self) -> None:
        """Close the index."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _looked_at(self, known: dict[str, IndexedDocument]) -> Iterator[tuple[_Read, str]]:
        """Yield the documents of the folder, each with what has become of it."""
        for state in scan(self.folder):
            old = known.get(state.path)
            if old is not None and old.state == state and state.settled(old.read_ns):
                yield _Read(state, old.read_ns, old.digest, None), "unchanged"
                continue
            read = self._read(state, b"" if old is None else old.digest)
            kind = "added" if old is None else "unchanged" if read.document is None else "changed"
            yield read, kind

    def _read(self, state: FileState, known: bytes) -> _Read:
        """Read a document, unless its bytes have the known hash."""
        read_ns = time.time_ns()
        try:
            data = read_regular(self.folder / state.path, MOST_BYTES, CorpusError)
        except CorpusError as error:
            return _Read(state, read_ns, b"", error.what)
        digest = hashlib.sha256(data).digest()
        if digest == known:
            return _Read(state, read_ns, digest, None)
        try:
            return _Read(state, read_ns, digest, document_text(state.path, data))
        except CorpusError as error:
            return _Read(state, read_ns, digest, error.what)

    def _record(self, read: _Read) -> None:
        if read.document is None:
            self._file.touch(read.state, read.read_ns)
        else:
            self._file.put(read.state, read.read_ns, read.digest, read.document)


def _cached(folder: Path) -> Path:
    """Return the place of a folder's index in the user's cache; RequestError without a home."""
    directory = user_path("cache")
    if directory is None:
        raise RequestError("there is no home directory to keep the index in", field="index", fix="name a file for it")
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    short = folder.name.encode()[:MOST_NAME].decode(errors="ignore")
    return directory / "folders" / f"{short}-{name}.sqlite"
