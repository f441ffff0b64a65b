"""The output items of a response: each writes its stream events, and its value so far."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from glm_gguf.chat.custom_tool import INPUT
from glm_gguf.server.responses.argument_text import ArgumentText
from glm_gguf.server.streams.wire_stream import WireEvent

ItemStatus = Literal["in_progress", "completed", "incomplete"]


class MessageItem:
    """A message of the assistant with its one part, a text."""

    def __init__(self, item_id: str) -> None:
        self.id = item_id
        self._text = ""
        self._logprobs: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    def value(self, status: ItemStatus) -> dict[str, Any]:
        """Return the item; before its text there is no part."""
        content = [] if status == "in_progress" else [self._part()]
        return {"id": self.id, "type": "message", "status": status, "role": "assistant", "content": content}

    def begin(self) -> Iterator[WireEvent]:
        """Open the part."""
        yield {"type": "response.content_part.added", "content_index": 0, "part": self._part()}

    def write(self, text: str, logprobs: list[dict[str, Any]]) -> Iterator[WireEvent]:
        """Add text, and the log probabilities of its tokens."""
        self._text += text
        self._logprobs += logprobs
        yield {"type": "response.output_text.delta", "content_index": 0, "delta": text, "logprobs": logprobs}

    def annotate(self, annotations: list[dict[str, Any]]) -> Iterator[WireEvent]:
        """Add annotations of the text."""
        for annotation in annotations:
            place = {"content_index": 0, "annotation_index": len(self._annotations)}
            self._annotations.append(annotation)
            yield {"type": "response.output_text.annotation.added", **place, "annotation": annotation}

    def end(self, status: ItemStatus) -> Iterator[WireEvent]:
        """Close the part."""
        done = {"content_index": 0, "text": self._text, "logprobs": self._logprobs}
        yield {"type": "response.output_text.done", **done}
        yield {"type": "response.content_part.done", "content_index": 0, "part": self._part()}

    def _part(self) -> dict[str, Any]:
        part = {"type": "output_text", "text": self._text, "annotations": [*self._annotations]}
        return {**part, "logprobs": self._logprobs}


class CallItem:
    """A call of a function."""

    def __init__(self, item_id: str, call_id: str, name: str, namespace: str | None = None) -> None:
        self.id = item_id
        self._call = {"call_id": call_id, "name": name} | ({"namespace": namespace} if namespace else {})
        self._arguments = ""

    def value(self, status: ItemStatus) -> dict[str, Any]:
        """Return the item."""
        call = {**self._call, "arguments": self._arguments}
        return {"id": self.id, "type": "function_call", "status": status, **call}

    def begin(self) -> Iterator[WireEvent]:
        """Yield nothing: the item itself opens the arguments."""
        yield from ()

    def write(self, arguments: str) -> Iterator[WireEvent]:
        """Decode more of the arguments."""
        self._arguments += arguments
        yield {"type": "response.function_call_arguments.delta", "delta": arguments}

    def end(self, status: ItemStatus) -> Iterator[WireEvent]:
        """Close the arguments; a cut call has no event for it."""
        if status == "completed":
            done = {"name": self._call["name"], "arguments": self._arguments}
            yield {"type": "response.function_call_arguments.done", **done}


class CustomCallItem:
    """A call of a custom tool: the one text in its arguments."""

    def __init__(self, item_id: str, call_id: str, name: str, namespace: str | None = None) -> None:
        self.id = item_id
        self._call = {"call_id": call_id, "name": name} | ({"namespace": namespace} if namespace else {})
        self._text = ArgumentText(INPUT)
        self._input = ""

    def value(self, status: ItemStatus) -> dict[str, Any]:
        """Return the item."""
        return {"id": self.id, "type": "custom_tool_call", "status": status, **self._call, "input": self._input}

    def begin(self) -> Iterator[WireEvent]:
        """Yield nothing: the item itself opens the text."""
        yield from ()

    def write(self, arguments: str) -> Iterator[WireEvent]:
        """Add arguments, and write the text in them."""
        yield from self._written(self._text.feed(arguments))

    def end(self, status: ItemStatus) -> Iterator[WireEvent]:
        """Close the text; a cut call has no event for it."""
        if status == "completed":
            yield from self._written(self._text.flush())
            yield {"type": "response.custom_tool_call_input.done", "input": self._input}

    def _written(self, text: str) -> Iterator[WireEvent]:
        self._input += text
        if text:
            yield {"type": "response.custom_tool_call_input.delta", "delta": text}


class ThoughtItem:
    """A thought: as a summary if the client requests one, else as content."""

    def __init__(self, item_id: str, *, summary: bool) -> None:
        self.id = item_id
        self._names = _SUMMARY if summary else _CONTENT
        self._text = ""

    def value(self, status: ItemStatus) -> dict[str, Any]:
        """Return the item; before its text there is no part."""
        parts = [] if status == "in_progress" else [self._part()]
        item = {"id": self.id, "type": "reasoning", "status": status, "summary": [], "content": []}
        return {**item, self._names["field"]: parts, "encrypted_content": None}

    def begin(self) -> Iterator[WireEvent]:
        """Open the part."""
        yield {"type": self._names["added"], self._names["index"]: 0, "part": self._part()}

    def write(self, text: str) -> Iterator[WireEvent]:
        """Add more of the thought."""
        self._text += text
        yield {"type": self._names["delta"], self._names["index"]: 0, "delta": text}

    def end(self, status: ItemStatus) -> Iterator[WireEvent]:
        """Close the part."""
        yield {"type": self._names["text_done"], self._names["index"]: 0, "text": self._text}
        yield {"type": self._names["part_done"], self._names["index"]: 0, "part": self._part()}

    def _part(self) -> dict[str, Any]:
        return {"type": self._names["part"], "text": self._text}


class SearchItem:
    """A look-up of the server's own; it is over when it is told."""

    def __init__(self, item_id: str, action: dict[str, Any], *, failed: bool) -> None:
        self.id = item_id
        self._action = action
        self._failed = failed

    def value(self, status: ItemStatus) -> dict[str, Any]:
        """Return the item."""
        ended = "failed" if self._failed and status != "in_progress" else status
        return {"id": self.id, "type": "web_search_call", "status": ended, "action": self._action}

    def begin(self) -> Iterator[WireEvent]:
        """Say that it begins, and that it searches."""
        yield {"type": "response.web_search_call.in_progress"}
        yield {"type": "response.web_search_call.searching"}

    def end(self, status: ItemStatus) -> Iterator[WireEvent]:
        """Say that it is over; a failed one has no event for it."""
        if not self._failed:
            yield {"type": "response.web_search_call.completed"}


OutputItem = MessageItem | CallItem | CustomCallItem | ThoughtItem | SearchItem

_CONTENT = {
    "field": "content",
    "part": "reasoning_text",
    "index": "content_index",
    "added": "response.content_part.added",
    "delta": "response.reasoning_text.delta",
    "text_done": "response.reasoning_text.done",
    "part_done": "response.content_part.done",
}
_SUMMARY = {
    "field": "summary",
    "part": "summary_text",
    "index": "summary_index",
    "added": "response.reasoning_summary_part.added",
    "delta": "response.reasoning_summary_text.delta",
    "text_done": "response.reasoning_summary_text.done",
    "part_done": "response.reasoning_summary_part.done",
}
"""Names of the two forms of a thought on the wire."""
