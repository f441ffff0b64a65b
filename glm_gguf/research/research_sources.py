"""What a research looks things up in, as a user names it: a folder, the web through a SearXNG server, tools."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from glm_gguf.errors import RequestError
from glm_gguf.research.call_limit import CallLimit
from glm_gguf.research.corpus import Corpus
from glm_gguf.research.fetch_rules import FetchRules
from glm_gguf.research.folder_index import FolderIndex, IndexUpdate
from glm_gguf.research.joined_corpora import JoinedCorpora
from glm_gguf.research.searxng import SearxngCorpus


@dataclass(frozen=True, slots=True)
class ResearchSources:
    """A folder, a SearXNG server or other tools, or a folder and one of these; each research opens them anew."""

    folder: Path | None = None
    searxng: str | None = None
    rules: FetchRules = field(default_factory=FetchRules)
    tools: Callable[[CallLimit], Corpus] | None = None
    """Makes a corpus of tools, such as those of an MCP server."""

    def __post_init__(self) -> None:
        if self.searxng is None:
            for name, hosts in (("allow", self.rules.hosts), ("allow_private", self.rules.private_hosts)):
                if hosts:
                    fix = "name a SearXNG server, or leave it out"
                    raise RequestError("no page of the web is opened", field=name, fix=fix)
            if self.folder is None and self.tools is None:
                fix = "give a folder of documents, the URL of a SearXNG server, or both"
                raise RequestError("there is nothing to look things up in", field="sources", fix=fix)
        elif self.tools is not None:
            raise RequestError("a SearXNG server searches the web already", field="mcp", fix="give one of them")

    @contextmanager
    def opened(
        self, told: Callable[[IndexUpdate], None] = lambda update: None, limit: CallLimit | None = None
    ) -> Iterator[Corpus]:
        """Open them, the folder's index brought up to date; `told` what has changed in it. `limit` is for the tools."""
        web: Corpus | None = None if self.tools is None else self.tools(limit or CallLimit())
        if self.searxng is not None:
            web = SearxngCorpus(self.searxng, self.rules)
        if self.folder is None:
            assert web is not None
            yield web
            return
        with FolderIndex(self.folder) as folder:
            told(folder.update())
            yield folder if web is None else JoinedCorpora(folder, web)
