"""Translates the events of answers into OpenAI's chat chunks.

A call that is cut after its first arguments were streamed stays as it was sent: its arguments are incomplete
JSON, and the finish reason is `length`, as with OpenAI. Its text, which other APIs return instead, is not sent.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Literal

from glm_gguf.chat.events import (
    Event,
    Finish,
    PrefillProgress,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    ToolCallCut,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from glm_gguf.server.bodies.wire import PromptProgress, WireResponse, WireUsage, new_id, prompt_progress, wire_usage
from glm_gguf.server.chat_completions.response import (
    AnswerForm,
    ChoiceLogprobs,
    UrlCitation,
    WireFinish,
    choice_logprobs,
    wire_finish,
)
from glm_gguf.server.streams.shown_tokens import ShownTokens
from glm_gguf.server.streams.timings import WireTimings, wire_timings


class FunctionDelta(WireResponse):
    """The next piece of a call."""

    name: str | None = None
    arguments: str | None = None


class ToolCallChunk(WireResponse):
    """The start of a call, or more of its arguments."""

    index: int
    id: str | None = None
    type: Literal["function"] | None = None
    function: FunctionDelta


class Delta(WireResponse):
    """The new part of an answer."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolCallChunk] | None = None
    function_call: FunctionDelta | None = None
    annotations: list[UrlCitation] | None = None
    """Citations of a text that was written from a search, in a chunk before the last."""


class ChunkChoice(WireResponse):
    """The new part of one of the answers."""

    index: int
    delta: Delta
    logprobs: ChoiceLogprobs | None
    finish_reason: WireFinish | None


class ChatCompletionChunk(WireResponse):
    """One event of the stream."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChunkChoice]
    usage: WireUsage | None = None
    prompt_progress: PromptProgress | None = None
    timings: WireTimings | None = None
    """llama-server's, in the last chunk of an answer."""
    unenforced: str | None = None
    """In the last chunk of an answer, as in a whole completion."""


class ChunkWriter:
    """One stream: all answers to a prompt."""

    def __init__(self, n: int, model: str, fingerprint: str, form: AnswerForm) -> None:
        self._head = ChatCompletionChunk(
            id=new_id("chatcmpl-"),
            object="chat.completion.chunk",
            created=int(time.time()),
            model=model,
            system_fingerprint=fingerprint,
            choices=[],
        )
        if form.usage:
            self._head.usage = None  # once set, every chunk but the last has null
        self._form = form
        self._begun = time.monotonic()
        self._choices = [_Choice(index, form) for index in range(n)]
        self._usages = [Usage()] * n

    def feed(self, index: int, event: Event) -> Iterator[ChatCompletionChunk]:
        """Write the next event of an answer."""
        told: dict[str, Any] = {}
        if isinstance(event, Finish):
            self._usages[index] = event.usage
            told = {"timings": wire_timings(event)}
            told |= {} if event.unenforced is None else {"unenforced": event.unenforced}
        for choice in self._choices[index].feed(event):
            yield self._head.model_copy(update={"choices": [choice]} | (told if choice.finish_reason else {}))

    def progress(self, index: int, event: PrefillProgress) -> ChatCompletionChunk | None:
        """Write how far the prompt is computed, where the request asked for it."""
        if not self._form.progress:
            return None
        choice = ChunkChoice(index=index, delta=Delta(), logprobs=None, finish_reason=None)
        told = prompt_progress(event, self._begun)
        return self._head.model_copy(update={"choices": [choice], "prompt_progress": told})

    def annotated(self, citations: list[UrlCitation]) -> ChatCompletionChunk:
        """Write the citations of the first answer."""
        choice = ChunkChoice(index=0, delta=Delta(annotations=citations), logprobs=None, finish_reason=None)
        return self._head.model_copy(update={"choices": [choice]})

    def usage(self) -> ChatCompletionChunk:
        """Write the last chunk, with token counts and no choice."""
        return self._head.model_copy(update={"usage": wire_usage([self._usages])})


class _Choice:
    """One answer of the stream."""

    def __init__(self, index: int, form: AnswerForm) -> None:
        self._index = index
        self._form = form
        self._shown = ShownTokens() if form.logprobs else None
        self._begun = False
        self._cut = False  # the text that follows repeats a call that was already sent

    def feed(self, event: Event) -> Iterator[ChunkChoice]:
        """Write an event; the role comes before the first."""
        tokens = [] if self._shown is None else self._shown.feed(event)
        self._cut = self._cut or isinstance(event, ToolCallCut)
        if isinstance(event, TokenLogprob | ToolCallCut) or (self._cut and isinstance(event, TextDelta)):
            return
        if not self._begun:
            self._begun = True
            yield self._chunk(Delta(role="assistant", content="" if isinstance(event, TextDelta | Finish) else None))
        if isinstance(event, Finish):
            yield self._chunk(Delta(), finish=wire_finish(event.reason, legacy=self._form.legacy))
        elif (delta := self._delta(event)) is not None:
            yield self._chunk(delta, choice_logprobs(tokens) if tokens else None)

    def _delta(self, event: Event) -> Delta | None:
        match event:
            case TextDelta(text):
                return Delta(content=text)
            case ReasoningDelta(text) if not self._form.hides_thought:
                return Delta(reasoning_content=text)
            case ToolCallStart(index, name):
                return self._call(index, FunctionDelta(name=name, arguments=""), begins=True)
            case ToolCallDelta(index, arguments):
                return self._call(index, FunctionDelta(arguments=arguments), begins=False)
        return None

    def _call(self, index: int, function: FunctionDelta, *, begins: bool) -> Delta | None:
        """Write a piece of a call; the legacy form has one call only."""
        if self._form.legacy:
            return Delta(function_call=function) if index == 0 else None
        if begins:
            call = ToolCallChunk(index=index, id=new_id("call_"), type="function", function=function)
        else:
            call = ToolCallChunk(index=index, function=function)
        return Delta(tool_calls=[call])

    def _chunk(
        self, delta: Delta, logprobs: ChoiceLogprobs | None = None, finish: WireFinish | None = None
    ) -> ChunkChoice:
        return ChunkChoice(index=self._index, delta=delta, logprobs=logprobs, finish_reason=finish)
