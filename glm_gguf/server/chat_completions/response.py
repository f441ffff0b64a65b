"""A whole chat completion: OpenAI's schema, made from answers."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from glm_gguf.chat.events import ChatResult, Event, Finish, FinishReason, TokenLogprob, ToolCall, collect
from glm_gguf.research.citations import Citation
from glm_gguf.research.research_events import Source
from glm_gguf.server.bodies.wire import WireResponse, WireUsage, new_id, wire_usage
from glm_gguf.server.streams.logprobs import ContentLogprob, content_logprob
from glm_gguf.server.streams.shown_tokens import ShownTokens
from glm_gguf.server.streams.timings import WireTimings, wire_timings

WireFinish = Literal["stop", "length", "tool_calls", "function_call"]


class FunctionCall(WireResponse):
    """A function's name, and its arguments as JSON text."""

    name: str
    arguments: str


class MessageToolCall(WireResponse):
    """One call."""

    id: str
    type: Literal["function"]
    function: FunctionCall


class CitedPlace(WireResponse):
    """A place of the text, and the page that it cites."""

    start_index: int
    end_index: int
    url: str
    title: str


class UrlCitation(WireResponse):
    """A citation of a text that was written from a search."""

    type: Literal["url_citation"]
    url_citation: CitedPlace


class AssistantMessage(WireResponse):
    """The model's message."""

    role: Literal["assistant"]
    content: str | None
    refusal: None
    reasoning_content: str | None = None
    tool_calls: list[MessageToolCall] | None = None
    function_call: FunctionCall | None = None
    annotations: list[UrlCitation] | None = None
    """Citations of a text that was written from a search."""


class ChoiceLogprobs(WireResponse):
    """Log probabilities of the visible text."""

    content: list[ContentLogprob]
    refusal: None


class Choice(WireResponse):
    """One answer."""

    index: int
    message: AssistantMessage
    logprobs: ChoiceLogprobs | None
    finish_reason: WireFinish


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """How answers are written, whole or streamed."""

    logprobs: bool = False
    legacy: bool = False
    """Calls are in the legacy form."""
    usage: bool = False
    """A stream ends with the token counts."""
    hides_thought: bool = False
    progress: bool = False
    """A stream tells how far the prompt is computed."""


class ChatCompletion(WireResponse):
    """The response."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: WireUsage
    system_fingerprint: str
    timings: WireTimings | None = None
    """llama-server's, of the first answer."""
    unenforced: str | None = None
    """Path of the first keyword of a schema that no grammar enforced: the answer was checked instead."""


def chat_completion(
    answers: Sequence[Sequence[Event]], model: str, fingerprint: str, form: AnswerForm
) -> ChatCompletion:
    """Write answers to one prompt as a completion."""
    results = [collect(events) for events in answers]
    completion = ChatCompletion(
        id=new_id("chatcmpl-"),
        object="chat.completion",
        created=int(time.time()),
        model=model,
        choices=[
            Choice(
                index=index,
                message=_message(result, form),
                logprobs=_logprobs(answers[index]) if form.logprobs else None,
                finish_reason=wire_finish(result.finish_reason, legacy=form.legacy),
            )
            for index, result in enumerate(results)
        ],
        usage=wire_usage([[result.usage for result in results]]),
        system_fingerprint=fingerprint,
    )
    if answers[0] and isinstance(end := answers[0][-1], Finish):
        completion.timings = wire_timings(end)
    if results[0].unenforced is not None:
        completion.unenforced = results[0].unenforced
    return completion


def url_citation(place: Citation, source: Source) -> UrlCitation:
    """Write a citation as OpenAI does."""
    cited = CitedPlace(start_index=place.start, end_index=place.end, url=source.address, title=source.title)
    return UrlCitation(type="url_citation", url_citation=cited)


def wire_finish(reason: FinishReason, *, legacy: bool = False) -> WireFinish:
    """Return OpenAI's finish reason; it has none for a passed time limit, which counts as the length."""
    if reason == "timeout":
        return "length"
    return "function_call" if reason == "tool_calls" and legacy else reason


def _message(result: ChatResult, form: AnswerForm) -> AssistantMessage:
    content = result.content if result.content or not result.tool_calls else None
    message = AssistantMessage(role="assistant", content=content, refusal=None)
    if result.reasoning and not form.hides_thought:
        message.reasoning_content = result.reasoning
    if result.tool_calls and form.legacy:
        message.function_call = _function(result.tool_calls[0])
    elif result.tool_calls:
        message.tool_calls = [
            MessageToolCall(id=new_id("call_"), type="function", function=_function(call)) for call in result.tool_calls
        ]
    return message


def _function(call: ToolCall) -> FunctionCall:
    return FunctionCall(name=call.name, arguments=call.arguments)


def _logprobs(events: Iterable[Event]) -> ChoiceLogprobs:
    """Write the log probabilities of a whole answer's visible text."""
    shown = ShownTokens()
    return choice_logprobs(token for event in events for token in shown.feed(event))


def choice_logprobs(tokens: Iterable[TokenLogprob]) -> ChoiceLogprobs:
    """Write log probabilities as OpenAI does."""
    return ChoiceLogprobs(content=[content_logprob(token) for token in tokens], refusal=None)
