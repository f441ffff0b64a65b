"""Writing from sources: the chat models answer a question from observations, and cite them.

The form is that of the model card's search-based writing: rules as system message, the question, and an observation
`【{id}†{title}†{url}】\\n{content}` for each source. The rules are written here in our own words.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from glm_gguf.answers.accepted_keywords import SamplingLike, options_value
from glm_gguf.chat.events import Finish, PrefillProgress, ReasoningDelta, TextDelta, Usage, collect
from glm_gguf.errors import DeadlineError, RequestError
from glm_gguf.llama.sampling_params import SamplingParams
from glm_gguf.research.citations import Citation, CitationResolver
from glm_gguf.research.conversation import require_question, split_history
from glm_gguf.research.research_events import AnswerEnded, Source
from glm_gguf.research.search_terms import CJK_RUN
from glm_gguf.research.sources import SourceText
from glm_gguf.variant import Variant

if TYPE_CHECKING:
    from glm_gguf.model import GLM

ANSWER_TOKENS: Final = 4096
"""Tokens that are kept for the text, but at most half of the context."""
MOST_A_TOKEN: Final = 8
"""Characters of a token, in texts of few long words."""
LEAST_CHARACTERS: Final = 200
"""Characters of each source; where not even these fit the context, the question is refused."""
RULES: Final = {
    "en": """\
You answer the user's question from the search results that follow it.
1. Read all results, combine what they say, and put it in your own words; a copied passage is no answer.
2. If the results hold enough, write at length, and treat the question from several sides.
3. Some results have nothing to do with the question. Judge each, and leave those out.
4. A question for a single fact gets a short answer, with a sentence or two around it.
5. Write clearly and in good order. Use lists where things are named or compared.
6. Use the language of the question, unless the user asks for another.
7. Name the result behind a sentence at its end, by its number: 【0†source】.""",
    "zh": """\
你要依据用户问题之后给出的搜索结果来回答问题。
1. 通读全部结果，归纳整合其中的信息，用自己的话写出来，不要照抄原文。
2. 信息足够时，请写得详尽，从多个方面展开。
3. 有些结果与问题无关，请逐条判断，舍弃无关内容。
4. 只问一个事实的问题，简短作答，再补充一两句背景即可。
5. 文字清楚，条理分明；列举或比较时使用列表。
6. 使用与提问相同的语言，除非用户另有要求。
7. 在句末用编号注明依据的结果，格式为【0†source】。""",
}


@dataclass(frozen=True, slots=True)
class SourcedText:
    """A text with numbered citations, and the references that they name."""

    question: str
    text: str
    references: tuple[Source, ...]
    missing: tuple[int, ...]
    """Numbers that the model cited and that no source has; the text has `[?]` there."""
    complete: bool
    """False if the text was cut by a limit."""
    citations: tuple[Citation, ...] = field(default=(), compare=False)
    """Where the text names which reference."""
    usage: Usage = field(default_factory=Usage, compare=False)

    def markdown(self) -> str:
        """Return the text with its references as Markdown."""
        lines = [f"{one.number}. {one.title}{f': {one.address}' if one.address else ''}" for one in self.references]
        return "\n".join([self.text.rstrip(), *(["", "## References", "", *lines] if lines else []), ""])


def require_writer(glm: GLM) -> None:
    """Raise RequestError for a model that was not trained to write from sources."""
    if glm.variant in (Variant.BASE, Variant.RUMINATION):
        fix = "use a chat model; a Rumination model has `research`"
        raise RequestError(f"a {glm.variant} model does not write from given sources", fix=fix)


WriteEvent = PrefillProgress | ReasoningDelta | TextDelta | AnswerEnded | SourcedText
"""What `SourcedWriting.stream` yields: text with resolved citations, and the SourcedText at the end."""


class SourcedWriting:
    """Writes answers from sources: `SourcedWriting(glm, sources).write("What is GGUF?").markdown()`.

    Sources that are too long for the context are cut. Raises GlmGgufError for what it cannot use.
    """

    def __init__(self, glm: GLM, sources: Sequence[SourceText], sampling: SamplingLike = None) -> None:
        require_writer(glm)
        if not sources:
            raise RequestError("there are no sources", field="sources", fix="give at least one")
        self._glm = glm
        self._sources = sources
        self._sampling = options_value(SamplingParams, sampling, "sampling")

    def write(self, question: str) -> SourcedText:
        """Answer a question from the sources."""
        *_, last = self.stream(question)
        assert isinstance(last, SourcedText)
        return last

    def stream(
        self, question: str, history: Sequence[Mapping[str, Any]] = (), seconds: float | None = None
    ) -> Generator[WriteEvent, None, None]:
        """Answer a question event by event; the last event is the SourcedText. Closing the iterator stops the model.

        `history` holds the messages before it: of the system, the user and the assistant.
        """
        require_question(question)
        return self._events(question, self._messages(question, history), seconds)

    def _events(
        self, question: str, messages: list[dict[str, Any]], seconds: float | None
    ) -> Generator[WriteEvent, None, None]:
        citations = CitationResolver(self._sources)
        received, written = [], []
        with self._glm.stream(messages, sampling=self._sampling, timeout=seconds, progress=True) as events:
            for event in events:
                received.append(event)
                if isinstance(event, TextDelta):
                    written.append(citations.feed(event.text))
                    if written[-1]:
                        yield TextDelta(written[-1])
                elif isinstance(event, PrefillProgress | ReasoningDelta):
                    yield event
                elif isinstance(event, Finish):
                    yield AnswerEnded(event.usage)
        if rest := citations.flush():
            written.append(rest)
            yield TextDelta(rest)
        answer, text = collect(received), "".join(written)
        if answer.finish_reason == "timeout" and not answer.usage.completion_tokens:
            raise DeadlineError("the time limit passed before the text began", fix="give a larger timeout")
        told = citations.references, tuple(citations.missing), answer.finish_reason == "stop"
        yield SourcedText(question, text, *told, tuple(citations.citations), answer.usage)

    def _messages(self, question: str, history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the conversation, with sources cut alike until it leaves room for the text."""
        n_ctx = self._glm.n_ctx
        room = n_ctx - min(self._sampling.max_tokens or ANSWER_TOKENS, n_ctx // 2)
        characters = min(max(len(source.text) for source in self._sources), MOST_A_TOKEN * room)
        while (count := len(self._glm.prompt_ids(messages := self._written(question, history, characters)))) > room:
            if characters <= LEAST_CHARACTERS:
                fix = "give fewer sources, or a larger n_ctx"
                raise RequestError(f"{len(self._sources)} sources do not fit the context", field="sources", fix=fix)
            characters = max(int(characters * min(room / count, 0.9)), LEAST_CHARACTERS)
        return messages

    def _written(self, question: str, history: Sequence[Mapping[str, Any]], characters: int) -> list[dict[str, Any]]:
        rules = RULES["zh" if CJK_RUN.search(question) else "en"]
        observations = [
            {"role": "observation", "content": f"【{number}†{one.title}†{one.address}】\n{one.text[:characters]}"}
            for number, one in enumerate(self._sources)
        ]
        told, before = split_history(history)
        system = {"role": "system", "content": "\n\n".join([rules, *told])}
        return [system, *before, {"role": "user", "content": question}, *observations]
