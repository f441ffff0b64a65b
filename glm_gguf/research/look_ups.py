"""The model's calls answered from a corpus: `search`, `click`, `open`, and an error for everything else.

Observations have the form of Rumination's model card: a search gives `【i†title†address\\nsnippet】` for each hit, a
page its text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from glm_gguf.chat.events import ToolCall
from glm_gguf.chat.tools import error_text, result_text
from glm_gguf.errors import CorpusError, DeadlineError, GlmGgufError, in_one_line
from glm_gguf.research.corpus import Corpus, Hit, Page
from glm_gguf.research.research_events import CallFailed, LookUp, Opened, Searched

_PART: Final = re.compile(r"#part-(\d{1,9})$")
Key = tuple[Literal["search", "open"], str]
"""What a call asks for, a query or an address: equal keys have equal results."""
_ASKED: Final = {"search": "query", "open": "address"}


class _CannotAnswer(Exception):
    """A call that gives an error; its text is for the model."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What the model reads of a call's result, and what is told of it."""

    text: str
    event: LookUp


class LookUps:
    """Answers the calls of one research. It knows the hits of the last search, and which calls it has answered."""

    def __init__(self, corpus: Corpus, most_hits: int, page_characters: int) -> None:
        self._corpus = corpus
        self._most_hits = most_hits
        self._page_characters = page_characters
        self._hits: Sequence[Hit] = ()
        self._answered: dict[Key, int] = {}
        self.opened: dict[str, str] = {}
        """Address → title of the pages that were opened, in this order."""

    def answer(self, call: ToolCall, turn: int) -> Observation:
        """Answer a call; what goes wrong is told to the model."""
        key: Key | None = None
        try:
            key = self._key(call.name, _arguments(call))
            if key in self._answered:
                told = f"turn {self._answered[key]} made this call, and its result is above"
                raise _CannotAnswer(f"{told}: search for something else, open another page, or finish")
            observation = self._search(key[1]) if key[0] == "search" else self._open(key[1])
        except _CannotAnswer as error:
            asked = {} if key is None else {_ASKED[key[0]]: key[1]}
            return Observation(error_text(str(error)), CallFailed(written(call), str(error), **asked))
        self._answered[key] = turn
        self.remember(observation.event)
        return Observation(result_text(observation.text), observation.event)  # a corpus may give what is no Unicode

    def remember(self, event: LookUp, turn: int | None = None) -> None:
        """Take what a look-up has found; `turn` if an earlier process has made it."""
        key: Key
        match event:
            case Searched(query, hits):
                self._hits = hits
                key = ("search", query)
            case Opened(title, address, part):
                self.opened.setdefault(address, title)
                key = ("open", _with_part(address, part))
            case _:
                return
        if turn is not None:
            self._answered[key] = turn

    def forget(self, turn: int) -> None:
        """Allow the calls of a turn again, whose result the model no longer sees."""
        self._answered = {key: made for key, made in self._answered.items() if made != turn}

    def _key(self, name: str, arguments: Mapping[str, Any]) -> Key:
        match name, arguments:
            case "search", {"query": str(query)} if query.strip():
                return "search", " ".join(query.split())
            case "click", {"link_id": int() | str() as link} if re.fullmatch(r"\d{1,6}", str(link)):
                return "open", self._linked(int(link))
            case "open", {"url": str(url)} if url.strip():
                return "open", url.strip()
        expected = {"search": '{"query": "…"}', "click": '{"link_id": 0}', "open": '{"url": "…"}'}.get(name)
        if expected is None:
            raise _CannotAnswer(f"there is no tool {name!r}, only search, click, open and finish")
        raise _CannotAnswer(f"the arguments of {name} are {expected}")

    def _linked(self, link: int) -> str:
        """Return the address of a hit of the last search."""
        if not self._hits:
            raise _CannotAnswer("no search has found anything yet: there is no link to click")
        if link >= len(self._hits):
            raise _CannotAnswer(f"the last search has the links 0 to {len(self._hits) - 1}, not {link}")
        return self._hits[link].address

    def _search(self, query: str) -> Observation:
        hits = tuple(_asked(lambda: self._corpus.search(query, self._most_hits)))[: self._most_hits]
        blocks = [f"【{number}†{hit.title}†{hit.address}\n{hit.snippet}】" for number, hit in enumerate(hits)]
        return Observation("\n\n".join(blocks) or "No page was found.", Searched(query, hits))

    def _open(self, address: str) -> Observation:
        found = _PART.search(address)
        page: Page = _asked(lambda: self._corpus.open(_PART.sub("", address)))
        part, parts = int(found[1]) if found else 1, max(1, -(-len(page.text) // self._page_characters))
        if not 1 <= part <= parts:
            raise _CannotAnswer(f"the page has {parts} parts, not {part}")
        text = page.text[(part - 1) * self._page_characters : part * self._page_characters]
        if part < parts:
            text += f"\n\n(Part {part} of {parts}. Open {_with_part(page.address, part + 1)} to read on.)"
        return Observation(text, Opened(page.title, page.address, part, parts))


def written(call: ToolCall) -> str:
    """Write a call as Rumination does."""
    return f'{{"name": {json.dumps(call.name, ensure_ascii=False)}, "arguments": {call.arguments}}}'


def _arguments(call: ToolCall) -> Mapping[str, Any]:
    try:
        arguments = json.loads(call.arguments)
    except (ValueError, RecursionError) as error:
        raise _CannotAnswer(f"the arguments are no JSON: {error}") from error
    if not isinstance(arguments, dict):
        raise _CannotAnswer("the arguments are an object")
    return arguments


def _asked(ask: Any) -> Any:
    """Ask a corpus, which may be the user's and raise anything: the model is told, but of a fault of the set-up."""
    try:
        return ask()
    except (CorpusError, DeadlineError) as error:
        raise _CannotAnswer(str(error)) from error
    except GlmGgufError:
        raise
    except Exception as error:
        raise _CannotAnswer(in_one_line(error)) from error


def _with_part(address: str, part: int) -> str:
    return address if part == 1 else f"{address}#part-{part}"
