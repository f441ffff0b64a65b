"""Two corpora as one: a folder of documents and the web."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import chain, zip_longest

from glm_gguf.errors import CorpusError
from glm_gguf.research.corpus import Corpus, Hit, Page

_log = logging.getLogger(__name__)


class JoinedCorpora:
    """Searches a folder and the web; the hits alternate. An address with a scheme belongs to the web."""

    def __init__(self, folder: Corpus, web: Corpus) -> None:
        self._folder = folder
        self._web = web

    def search(self, query: str, most: int = 10) -> Sequence[Hit]:
        """Return hits of both; CorpusError if the web fails and the folder has found nothing, else a warning."""
        own = self._folder.search(query, most)
        try:
            others = self._web.search(query, most)
        except CorpusError as error:
            if not own:
                raise
            _log.warning("the web search failed, and the folder alone is searched: %s", error)
            others = ()
        both = chain.from_iterable(zip_longest(own, others))
        return [hit for hit in both if hit is not None][:most]

    def open(self, address: str) -> Page:
        """Open a document of the folder, or a page of the web; CorpusError tells both reasons if it is neither."""
        if "://" in address:
            return self._web.open(address)
        try:
            return self._folder.open(address)
        except CorpusError as of_folder:
            try:
                return self._web.open(address)
            except CorpusError as of_web:
                raise CorpusError(f"{of_folder}; and on the web: {of_web}") from of_folder
