"""Translates the events of an answer into Ollama's replies."""

from __future__ import annotations

from collections.abc import Iterator

from glm_gguf.chat.events import Event, Finish, ReasoningDelta, TextDelta, ToolCallCut, ToolCallDelta, ToolCallStart
from glm_gguf.server.ollama.response import (
    ChatReply,
    GenerateReply,
    ReplyCall,
    ReplyForm,
    ReplyFunction,
    ReplyPart,
    joined,
)
from glm_gguf.server.streams.call_arguments import arguments_object
from glm_gguf.server.streams.logprobs import content_logprob
from glm_gguf.server.streams.shown_tokens import ShownTokens


class ReplyEvents:
    """One reply: `feed` it with the answer's events; `whole` is the reply in one."""

    def __init__(self, form: ReplyForm, *, logprobs: bool) -> None:
        self._form = form
        self._shown = ShownTokens() if logprobs else None
        self._parts: list[ReplyPart] = []
        self._finish = Finish("length")
        self._call: ToolCallStart | None = None  # until its arguments are whole: Ollama sends them as an object
        self._arguments = ""

    @property
    def whole(self) -> ChatReply | GenerateReply:
        """The reply, after the last event; an answer that broke off counts as cut."""
        return self._form.end(joined(self._parts), self._finish)

    def feed(self, event: Event) -> Iterator[ChatReply | GenerateReply]:
        """Translate the next event of the answer."""
        for part in self._written(event):
            self._parts.append(part)
            yield self._form.part(part)
        if isinstance(event, Finish):
            self._finish = event
            yield self._form.end(ReplyPart(), event)

    def _written(self, event: Event) -> Iterator[ReplyPart]:
        """Write a call when something follows it, and text and thought at once."""
        tokens = () if self._shown is None else tuple(map(content_logprob, self._shown.feed(event)))
        match event:
            case ToolCallDelta(arguments=arguments):
                self._arguments += arguments
            case ToolCallCut():
                self._call = None
            case ToolCallStart():
                yield from self._called()
                self._call, self._arguments = event, ""
            case TextDelta(text):
                yield from self._called()
                yield ReplyPart(content=text, logprobs=tokens)
            case ReasoningDelta(text):
                yield from self._called()
                yield ReplyPart(thinking=text)
            case Finish():
                yield from self._called()

    def _called(self) -> Iterator[ReplyPart]:
        """Write the call whose arguments are whole now."""
        call, self._call = self._call, None
        if call is not None:
            function = ReplyFunction(index=call.index, name=call.name, arguments=arguments_object(self._arguments))
            yield ReplyPart(calls=(ReplyCall(id=call.id, function=function),))
