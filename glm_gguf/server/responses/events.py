"""Translates the events of an answer into a response's stream events, and into the whole response."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any, Final

from glm_gguf.chat.events import (
    Event,
    Finish,
    FinishReason,
    ReasoningDelta,
    TextDelta,
    ToolCallCut,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from glm_gguf.server.problem import Problem
from glm_gguf.server.responses.items import (
    CallItem,
    CustomCallItem,
    ItemStatus,
    MessageItem,
    OutputItem,
    SearchItem,
    ThoughtItem,
)
from glm_gguf.server.responses.offered_tools import OfferedTools
from glm_gguf.server.streams.logprobs import content_logprob
from glm_gguf.server.streams.shown_tokens import ShownTokens
from glm_gguf.server.streams.wire_stream import WireEvent

NO_TOOLS: Final = OfferedTools()


class ResponseEvents:
    """One response: call `begin`, `feed` with the answer's events, `flush`; `response` is the whole response.

    `frame` holds what a response says of its request; `keep` gets each item when it is written. An item that was
    announced cannot be taken back: a call that is cut off stays, incomplete, and its text is left out.
    """

    def __init__(
        self,
        frame: dict[str, Any],
        new_id: Callable[[str], str],
        *,
        summary: bool = False,
        tools: OfferedTools = NO_TOOLS,
        keep: Callable[[dict[str, Any]], None] = lambda item: None,
    ) -> None:
        self._response = {**frame, "status": "in_progress", "output": [], "usage": None}
        self._tools = tools
        self._new_id = new_id
        self._keep = keep
        self._summary = summary
        self._open: OutputItem | None = None
        self._shown = ShownTokens()
        self._cut = False
        self._sequence_number = 0

    @property
    def response(self) -> dict[str, Any]:
        """The response so far."""
        return deepcopy(self._response)

    @property
    def _output(self) -> list[dict[str, Any]]:
        output: list[dict[str, Any]] = self._response["output"]
        return output

    def begin(self) -> Iterator[WireEvent]:
        """Announce the response."""
        yield self._numbered({"type": "response.created", "response": self.response})
        yield self._numbered({"type": "response.in_progress", "response": self.response})

    def feed(self, event: Event) -> Iterator[WireEvent]:
        """Translate the next event of the answer."""
        yield from map(self._numbered, self._events(event))

    def looked_up(self, action: dict[str, Any], *, failed: bool) -> Iterator[WireEvent]:
        """Tell a look-up that the server has made."""
        yield from map(self._numbered, self._enter(SearchItem(self._new_id("ws_"), action, failed=failed)))
        yield from map(self._numbered, self._close("completed"))

    def annotate(self, annotations: list[dict[str, Any]]) -> Iterator[WireEvent]:
        """Annotate the text that is being written."""
        if isinstance(self._open, MessageItem):
            yield from map(self._numbered, self._placed(self._open.annotate(annotations)))

    def flush(self) -> Iterator[WireEvent]:
        """End the answer; an incomplete one counts as cut."""
        if self._response["status"] == "in_progress":
            yield from self.feed(Finish("length"))

    def fail(self, problem: Problem) -> Iterator[WireEvent]:
        """End an answer that failed."""
        yield from map(self._numbered, self._close("incomplete"))
        self._response |= {"status": "failed", "error": {"code": "server_error", "message": problem.message}}
        yield self._numbered({"type": "response.failed", "response": self.response})

    def _numbered(self, event: WireEvent) -> WireEvent:
        numbered = {**event, "sequence_number": self._sequence_number}
        self._sequence_number += 1
        return numbered

    def _events(self, event: Event) -> Iterator[WireEvent]:
        tokens = self._shown.feed(event)
        match event:
            case TextDelta(text) if not self._cut:
                yield from self._write_text(text, [content_logprob(token).model_dump() for token in tokens])
            case ReasoningDelta(text):
                yield from self._write_thought(text)
            case ToolCallStart(name=name):
                yield from self._enter(self._call(name))
            case ToolCallDelta(arguments=arguments):
                if isinstance(self._open, CallItem | CustomCallItem):
                    yield from self._placed(self._open.write(arguments))
            case ToolCallCut():
                self._cut = True
                yield from self._close("incomplete")
            case Finish():
                yield from self._finish(event)

    def _call(self, name: str) -> CallItem | CustomCallItem:
        """Begin a call of a tool, under the client's name for it."""
        tool = self._tools.offered_as(name)
        kind, prefix = (CustomCallItem, "ctc_") if tool is not None and tool.custom else (CallItem, "fc_")
        own, namespace = (name, None) if tool is None else (tool.name, tool.namespace)
        return kind(self._new_id(prefix), self._new_id("call_"), own, namespace)

    def _write_text(self, text: str, logprobs: list[dict[str, Any]]) -> Iterator[WireEvent]:
        if not isinstance(self._open, MessageItem):
            yield from self._enter(MessageItem(self._new_id("msg_")))
        assert isinstance(self._open, MessageItem)
        yield from self._placed(self._open.write(text, logprobs))

    def _write_thought(self, text: str) -> Iterator[WireEvent]:
        if not isinstance(self._open, ThoughtItem):
            yield from self._enter(ThoughtItem(self._new_id("rs_"), summary=self._summary))
        assert isinstance(self._open, ThoughtItem)
        yield from self._placed(self._open.write(text))

    def _enter(self, item: OutputItem) -> Iterator[WireEvent]:
        """Close the open item and begin another."""
        yield from self._close("completed")
        self._open = item
        self._output.append(item.value("in_progress"))
        yield self._item_event("response.output_item.added")
        yield from self._placed(item.begin())

    def _close(self, status: ItemStatus) -> Iterator[WireEvent]:
        """Close the open item, if there is one."""
        item, self._open = self._open, None
        if item is None:
            return
        self._output[-1] = item.value(status)
        self._keep(deepcopy(self._output[-1]))
        yield from self._placed(item.end(status))
        yield self._item_event("response.output_item.done")

    def _item_event(self, kind: str) -> WireEvent:
        return {"type": kind, "output_index": len(self._output) - 1, "item": deepcopy(self._output[-1])}

    def _placed(self, events: Iterator[WireEvent]) -> Iterator[WireEvent]:
        """Add the item's id and index to its events."""
        place = {"item_id": self._output[-1]["id"], "output_index": len(self._output) - 1}
        for event in events:
            yield {**event, **place}

    def _finish(self, finish: Finish) -> Iterator[WireEvent]:
        """End the response; clients expect a message or a call, so an answer without either becomes an empty text."""
        status, details = response_end(finish.reason)
        cut = status == "incomplete"
        if not cut and all(item["type"] == "reasoning" for item in self._output):
            yield from self._write_text("", [])
        yield from self._close(status)
        self._response |= {"status": status, "usage": _usage(finish.usage), "incomplete_details": details}
        yield {"type": f"response.{status}", "response": self.response}


def response_end(reason: FinishReason) -> tuple[ItemStatus, dict[str, str] | None]:
    """Return the status and `incomplete_details`; OpenAI has none for a deadline, which counts as the length."""
    if reason in ("length", "timeout"):
        return "incomplete", {"reason": "max_output_tokens"}
    return "completed", None


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
