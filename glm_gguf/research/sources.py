"""The sources of a text: the documents of a corpus that fit a question, or the results of a search in a JSON file."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from glm_gguf.errors import CorpusError, RequestError
from glm_gguf.misspelled_names import meant_name
from glm_gguf.regular_file import read_text
from glm_gguf.research.corpus import Corpus
from glm_gguf.research.document_text import title_line
from glm_gguf.strict_json import unique
from glm_gguf.whole_json import whole_json

MOST_BYTES: Final = 2**26
OTHER_WORDS: Final = "ask in the words of the sources"
TITLES: Final = ("title",)
CONTENTS: Final = ("content", "text", "raw_content", "snippet", "body")
ADDRESSES: Final = ("url", "address", "link", "href")
"""Names that search engines give to the parts of a result; the first that is there counts, and other keys pass."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SourceText:
    """A text that may be cited, and where it is from."""

    title: str
    address: str
    text: str


def corpus_sources(corpus: Corpus, question: str, most: int) -> list[SourceText]:
    """Return the documents that fit a question best, as `found_sources` does; CorpusError if there is none."""
    found = found_sources(corpus, question, most)
    if not found:
        raise CorpusError("no source fits the question", fix=OTHER_WORDS)
    return found


def found_sources(corpus: Corpus, question: str, most: int) -> list[SourceText]:
    """Return the documents that fit a question best; a warning names each that cannot be opened."""
    found = []
    for hit in corpus.search(question, most):
        try:
            page = corpus.open(hit.address)
        except CorpusError as error:
            _log.warning("a source is left out: %s", error)
            continue
        found.append(SourceText(page.title, page.address, page.text))
    return found


def read_sources(path: Path) -> list[SourceText]:
    """Read results of a search: a list of objects, or an object with such a list as `results`, as SearXNG has it."""
    text = read_text(path, MOST_BYTES)
    try:
        values = whole_json(text, unique)
    except ValueError as error:
        fix = "name a folder of documents, or a JSON file of search results"
        raise RequestError(f"the file holds no JSON: {error}", path=path, fix=fix) from error
    results = values.get("results") if isinstance(values, dict) else values
    if not isinstance(results, list) or not results:
        _refuse(path, None, "the file holds no list of results")
    return [_source(path, number, result) for number, result in enumerate(results)]


def _source(path: Path, number: int, result: Any) -> SourceText:
    if not isinstance(result, Mapping):
        _refuse(path, f"[{number}]", "a result is an object")
    for names in (TITLES, CONTENTS, ADDRESSES):
        if result.keys().isdisjoint(names):
            _require_spelled(path, f"[{number}]", result, names)
    text, address = _first(result, CONTENTS), _first(result, ADDRESSES)
    if text is None:
        _refuse(path, f"[{number}]", "the result has no content")
    title = result.get("title")
    shown = title_line(title if isinstance(title, str) else "", address or f"Source {number}")
    return SourceText(shown, address or "", text)


def _require_spelled(path: Path, where: str, result: Mapping[str, Any], names: tuple[str, ...]) -> None:
    """Raise RequestError for a key that misspells one of these names, none of which is there."""
    for key in result:
        if (meant := meant_name(key, names)) is not None:
            raise RequestError(f"a result has no key {key!r}", path=path, where=where, fix=f"write {meant!r}")


def _first(result: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    """Return the first text that is not empty."""
    values = (result.get(name) for name in names)
    return next((value for value in values if isinstance(value, str) and value.strip()), None)


def _refuse(path: Path, where: str | None, what: str) -> NoReturn:
    raise RequestError(what, path=path, where=where, fix='give [{"title": …, "url": …, "content": …}, …]')
