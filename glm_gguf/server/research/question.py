"""A conversation whose last message is researched."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from glm_gguf.chat.content_parts import content_text
from glm_gguf.errors import RequestError
from glm_gguf.llama.sampling_params import SamplingParams
from glm_gguf.model import GLM
from glm_gguf.research.corpus import Corpus
from glm_gguf.research.research import Research
from glm_gguf.research.research_events import ResearchEvent
from glm_gguf.research.research_options import REPORT_SHARE, ResearchOptions
from glm_gguf.research.searched_writing import SearchedEvent, SearchedWriting
from glm_gguf.server.answer_request import AnswerRequest
from glm_gguf.server.settings import ServerSettings


@dataclass(frozen=True, slots=True)
class Question:
    """The question, the messages before it, and the limits of its research."""

    text: str
    history: tuple[Mapping[str, Any], ...]
    options: ResearchOptions
    sampling: SamplingParams

    @property
    def look_up_seconds(self) -> float | None:
        """The time for look-ups of a research; the rest is kept for the report."""
        most = self.options.total_seconds
        return None if most is None else most * (1 - REPORT_SHARE)

    def researched(self, glm: GLM, corpus: Corpus) -> Generator[ResearchEvent, None, None]:
        """Look things up, turn by turn, and write a report."""
        return Research(glm, corpus, self.options, self.sampling).stream(self.text, self.history)

    def written(self, glm: GLM, most: int, corpus: Corpus) -> Generator[SearchedEvent, None, None]:
        """Search once, and write from the `most` documents that fit best."""
        writing = SearchedWriting(glm, corpus, most, self.sampling)
        return writing.stream(self.text, self.history, self.options.total_seconds)


def question_of(request: AnswerRequest, settings: ServerSettings, most_calls: int | None = None) -> Question:
    """Return the question of a conversation; RequestError for what no research heeds, such as calls and results in it.

    `max_tokens` bounds all answers of the research together, as OpenAI's max_output_tokens does. `most_calls` is
    OpenAI's max_tool_calls; a server's own limit holds too.
    """
    request.require_modest(settings.limits)
    sampling = request.sampling
    if request.options.get("response_format") is not None:
        fix = "leave it out, and have the report put into the format by a second request"
        raise RequestError("a report has no format", field="response_format", fix=fix)
    texts = [_text(index, message) for index, message in enumerate(request.messages)]
    if texts[-1]["role"] != "user":
        what = "the last message is not the user's"
        raise RequestError(what, field=f"messages[{len(texts) - 1}].role", fix="end with the question")
    seconds = min(request.options.get("timeout") or settings.limits.seconds, settings.limits.seconds)
    options = ResearchOptions(total_tokens=sampling.max_tokens, total_seconds=seconds)
    if most_calls is not None:
        options = replace(options, max_turns=min(most_calls, options.max_turns))
    if sampling.logprobs is not None:
        raise RequestError("a research has no log probabilities", field="logprobs", fix="leave it out")
    history = tuple(one for one in texts[:-1] if one["content"])
    return Question(texts[-1]["content"], history, options, sampling.filled(settings.sampling))


def _text(index: int, message: Mapping[str, Any]) -> dict[str, str]:
    role, where = str(message["role"]), f"messages[{index}]"
    role = "system" if role == "developer" else role
    if role not in ("system", "user", "assistant") or message.get("tool_calls"):
        fix = "leave calls and results out"
        raise RequestError("a researched conversation has messages only", field=where, fix=fix)
    content = message.get("content")
    return {"role": role, "content": "" if content is None else content_text(content, f"{where}.content", role)}
