"""A chat completion with `web_search_options`: one search, and a text written from what it found, with citations."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from functools import partial
from typing import Final

from fastapi import Request

from glm_gguf.chat.events import Event, Finish, PrefillProgress, ReasoningDelta, TextDelta
from glm_gguf.errors import RequestError
from glm_gguf.research.searched_writing import SearchedEvent
from glm_gguf.research.sourced_writing import SourcedText
from glm_gguf.server.answer_request import AnswerRequest
from glm_gguf.server.bodies.form_fields import naming_field
from glm_gguf.server.bodies.ignored_fields import note_ignored
from glm_gguf.server.chat_completions.chunks import ChunkWriter
from glm_gguf.server.chat_completions.request import ChatCompletionRequest
from glm_gguf.server.chat_completions.response import (
    AnswerForm,
    ChatCompletion,
    UrlCitation,
    chat_completion,
    url_citation,
)
from glm_gguf.server.pool.pooled_model import LoadedModel
from glm_gguf.server.research.question import Question, question_of
from glm_gguf.server.research.researches import gathered
from glm_gguf.server.service import Service
from glm_gguf.server.streams.sse import data
from glm_gguf.server.streams.wire_stream import ended_stream, event_chunks

FIELD: Final = "web_search_options"


class SearchedAnswer:
    """Translates the events of a text from a search into those of an answer; at the end it has the citations."""

    def __init__(self) -> None:
        self.citations: list[UrlCitation] = []

    def feed(self, event: SearchedEvent) -> Iterator[Event]:
        """Translate the next event; the references follow the text, for clients that read no citations."""
        match event:
            case PrefillProgress() | ReasoningDelta() | TextDelta():
                yield event
            case SourcedText(text=text, references=references):
                if references:
                    yield TextDelta(event.markdown().removeprefix(text.rstrip()).rstrip())
                self.citations = [url_citation(one, references[one.number - 1]) for one in event.citations]
                yield Finish("stop" if event.complete else "length", event.usage)


async def searched(body: ChatCompletionRequest, request: Request) -> ChatCompletion:
    """Answer from a search, whole."""
    model, events, form = await _begun(body, request)
    answer = SearchedAnswer()
    told = [one for event in await gathered(request, events) for one in answer.feed(event)]
    completion = chat_completion([told], model.name, model.fingerprint, form)
    if answer.citations:
        completion.choices[0].message.annotations = answer.citations
    return completion


async def begin_searched(body: ChatCompletionRequest, request: Request) -> AsyncGenerator[bytes, None]:
    """Begin an answer from a search, and return its stream; every refusal happens here."""
    model, events, form = await _begun(body, request)
    return ended_stream(_chunks(ChunkWriter(1, model.name, model.fingerprint, form), events, usage=form.usage))


async def _begun(
    body: ChatCompletionRequest, request: Request
) -> tuple[LoadedModel, AsyncGenerator[SearchedEvent, None], AnswerForm]:
    service: Service = request.app.state.service
    service.researches.require_sources(FIELD)
    options = body.web_search_options
    assert options is not None
    question = await service.prepared(request, partial(_question, body, service))
    model = await service.model(request, body.model)
    note_ignored(request, body.unmet(model.glm.variant))
    begun = partial(question.written, model.glm, options.most)
    form = AnswerForm(
        usage=body.includes_usage, hides_thought=body.hides_thought, progress=body.return_progress is True
    )
    return model, await service.researches.begin(request, begun, FIELD, question.options.total_seconds), form


def _question(body: ChatCompletionRequest, service: Service) -> Question:
    """Return the question; RequestError for what no text from a search heeds."""
    request = body.to_request()
    _require_plain(request, "functions" if body.legacy else "tools")
    with naming_field(body.requested_form()):
        return question_of(request, service.settings)


def _require_plain(request: AnswerRequest, tools: str) -> None:
    """Raise RequestError for tools, several answers, and options that would be passed over."""
    if request.tools:
        fix = "leave them out, or have a function of yours search"
        raise RequestError("a text from a search calls no functions", field=tools, fix=fix)
    if request.n != 1:
        raise RequestError("a search has one answer", field="n", fix="leave it out")
    options = request.options
    for name, field in (("variables", "chat_template_kwargs"), ("lora", "lora")):
        if options.get(name):
            raise RequestError("a text from a search does not heed it", field=field, fix="leave it out")
    if options.get("tool_choice") not in (None, "auto", "none"):
        raise RequestError("there are no functions", field="tool_choice", fix="leave it out")


async def _chunks(
    writer: ChunkWriter, events: AsyncGenerator[SearchedEvent, None], *, usage: bool
) -> AsyncGenerator[bytes, None]:
    """Write an answer from a search as chunks, the citations before the end."""
    answer = SearchedAnswer()
    async with aclosing(events):
        async for event in events:
            for one in answer.feed(event):
                for written in _written(writer, one, answer):
                    yield written
    if usage:
        yield data(writer.usage().as_json())


def _written(writer: ChunkWriter, event: Event, answer: SearchedAnswer) -> Iterator[bytes]:
    if isinstance(event, Finish) and answer.citations:
        yield data(writer.annotated(answer.citations).as_json())
    yield from event_chunks(writer, 0, event)
