"""A text from one search: the documents that fit a question best are opened, and the model writes from them."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from glm_gguf.answers.accepted_keywords import SamplingLike
from glm_gguf.errors import DeadlineError, RequestError
from glm_gguf.research.corpus import Corpus, Hit
from glm_gguf.research.research_events import ReportStarted, Searched
from glm_gguf.research.sourced_writing import SourcedWriting, WriteEvent, require_writer
from glm_gguf.research.sources import OTHER_WORDS, found_sources

if TYPE_CHECKING:
    from glm_gguf.model import GLM

SearchedEvent = Searched | ReportStarted | WriteEvent
"""What `SearchedWriting.stream` yields: the search, and then what `SourcedWriting.stream` does."""


class SearchedWriting:
    """Answers questions from the `most` documents of a corpus that fit them best. Raises GlmGgufError."""

    def __init__(self, glm: GLM, corpus: Corpus, most: int, sampling: SamplingLike = None) -> None:
        require_writer(glm)
        self._glm = glm
        self._corpus = corpus
        self._most = most
        self._sampling = sampling

    def stream(
        self, question: str, history: Sequence[Mapping[str, Any]] = (), seconds: float | None = None
    ) -> Generator[SearchedEvent, None, None]:
        """Search for a question as it is, and answer it; the last event is the SourcedText.

        DeadlineError if the `seconds` for both pass before the text begins.
        """
        began = time.monotonic()
        sources = found_sources(self._corpus, question, self._most)
        if not sources:
            raise RequestError("no source fits the question", field="question", fix=OTHER_WORDS)
        if seconds is not None and (seconds := seconds - (time.monotonic() - began)) <= 0:
            raise DeadlineError("the time limit passed during the search", fix="give a larger timeout")
        events = SourcedWriting(self._glm, sources, self._sampling).stream(question, history, seconds)
        yield Searched(question, tuple(Hit(one.title, one.address, "") for one in sources))
        yield ReportStarted("search")
        yield from events
