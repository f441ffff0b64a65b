"""An answer becomes the events and the message that Anthropic's client understands."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic._models import construct_type_unchecked
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message, RawMessageStreamEvent
from hypothesis import given, settings
from pydantic import TypeAdapter
from server.answer_scripts import SCRIPTS, CountedIds, answers, split

from glm_gguf.chat.events import Event, Finish, ReasoningDelta, TextDelta, ToolCallDelta, ToolCallStart
from glm_gguf.server.anthropic_messages.events import MessageEvents, MessageFrame, Thoughts
from glm_gguf.server.anthropic_messages.response import WholeMessage
from glm_gguf.server.problem import Problem

EVERY_SCRIPT = pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
CLIENT_EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)


def folded(script: list[Event], thoughts: Thoughts = "shown") -> tuple[list[dict[str, Any]], dict[str, Any]]:
    fold = MessageEvents(MessageFrame("msg_1", "glm", thoughts, 5), CountedIds())
    events = [*fold.begin(), *(wire for event in script for wire in fold.feed(event)), *fold.flush()]
    return events, fold.message


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """Name events: content_block_start as its block's type, a delta as its own."""
    return [event.get("content_block", event.get("delta", event)).get("type", event["type"]) for event in events]


@EVERY_SCRIPT
def test_every_event_is_one_of_the_clients(script: list[Event]) -> None:
    for event in folded(script)[0]:
        if event["type"] != "ping":
            CLIENT_EVENT.validate_python(event)


@EVERY_SCRIPT
def test_the_client_gathers_the_message_from_the_stream(script: list[Event]) -> None:
    require_the_client_gathers_the_message(script)


@settings(deadline=None, max_examples=60)
@given(answers())
def test_the_client_gathers_any_message_from_its_stream(script: list[Event]) -> None:
    require_the_client_gathers_the_message(script)
    require_the_client_gathers_the_message(split(script))


def require_the_client_gathers_the_message(script: list[Event]) -> None:
    events, message = folded(script)
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    for event in events:
        if event["type"] != "ping":
            typed: Any = construct_type_unchecked(type_=RawMessageStreamEvent, value=event)
            snapshot = accumulate_event(event=typed, current_snapshot=snapshot, json_bufs=buffers)
    assert {**snapshot.to_dict(), "stop_details": None} == {**message, "stop_details": None}
    Message.model_validate(message)
    WholeMessage.model_validate(message)


@EVERY_SCRIPT
def test_the_message_does_not_depend_on_the_pieces(script: list[Event]) -> None:
    assert folded(split(script))[1] == folded(script)[1]


@EVERY_SCRIPT
def test_blocks_are_opened_and_closed_in_turn(script: list[Event]) -> None:
    events = [event for event in folded(script)[0] if "index" in event]
    opened = [event["index"] for event in events if event["type"] == "content_block_start"]
    closed = [event["index"] for event in events if event["type"] == "content_block_stop"]
    assert opened == closed == list(range(len(opened)))
    assert [event["index"] for event in events] == sorted(event["index"] for event in events)


def test_the_order_of_a_text() -> None:
    events, _ = folded(SCRIPTS["text"])
    assert kinds(events) == [
        *("message_start", "ping", "text", "text_delta", "text_delta", "content_block_stop"),
        *("message_delta", "message_stop"),
    ]


def test_the_order_of_a_thought_and_a_call() -> None:
    events, message = folded(SCRIPTS["a thought and a call"])
    assert kinds(events) == [
        *("message_start", "ping", "thinking", "thinking_delta", "signature_delta", "content_block_stop"),
        *("tool_use", "input_json_delta", "content_block_stop", "message_delta", "message_stop"),
    ]
    assert message["content"][0]["signature"]
    assert message["stop_reason"] == "tool_use"


REASONS = {
    "text": ("end_turn", None),
    "nothing": ("end_turn", None),
    "prose and two calls": ("tool_use", None),
    "a call cut": ("max_tokens", None),
    "a stop text": ("stop_sequence", "STOP"),
    "a deadline": ("max_tokens", None),
    "broken off": ("max_tokens", None),
}


@pytest.mark.parametrize(("name", "expected"), REASONS.items(), ids=REASONS.keys())
def test_why_a_message_ends(name: str, expected: tuple[str, str | None]) -> None:
    message = folded(SCRIPTS[name])[1]
    assert (message["stop_reason"], message["stop_sequence"]) == expected


def test_usage_tells_cached_tokens_apart() -> None:
    events, message = folded(SCRIPTS["prose and two calls"])
    assert events[0]["message"]["usage"]["input_tokens"] == 5
    usage = message["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"]) == (5, 4, 8)


def test_a_cut_call_keeps_what_is_whole_of_its_input() -> None:
    message = folded(SCRIPTS["a call cut"])[1]
    assert [block["type"] for block in message["content"]] == ["text", "tool_use"]
    assert message["content"][1]["input"] == {"a": 1}


def test_an_empty_answer_has_a_text() -> None:
    assert folded(SCRIPTS["nothing"])[1]["content"] == [{"type": "text", "text": ""}]


def test_who_asks_for_no_thought_sees_none() -> None:
    events, message = folded(SCRIPTS["a thought and text"], "hidden")
    assert [block["type"] for block in message["content"]] == ["text"]
    assert "thinking" not in kinds(events)
    assert folded([ReasoningDelta("So."), Finish("length")], "hidden")[1]["content"] == [{"type": "text", "text": ""}]


def test_a_thought_can_be_told_without_its_text() -> None:
    events, message = folded(SCRIPTS["a thought and text"], "omitted")
    assert message["content"][0]["thinking"] == ""
    assert message["content"][0]["signature"]
    assert "thinking_delta" not in kinds(events)


AWKWARD = {
    "a number beyond floats": ('{"a": 1e999}', {"a": 1.7976931348623157e308}),
    "half a surrogate pair": (r'{"a": "\ud800"}', {"a": "?"}),
    "a long integer": ('{"a": 123456789012345678901234567890}', {"a": 123456789012345678901234567890}),
}


@pytest.mark.parametrize(("arguments", "value"), AWKWARD.values(), ids=AWKWARD.keys())
def test_arguments_that_python_cannot_write_again(arguments: str, value: object) -> None:
    script: list[Event] = [ToolCallStart(0, "f"), ToolCallDelta(0, arguments), Finish("tool_calls")]
    assert folded(script)[1]["content"][0]["input"] == value


def test_text_behind_a_call_is_a_block_of_its_own() -> None:
    message = folded([*SCRIPTS["a call between texts"][:-1], TextDelta("!"), Finish("tool_calls")])[1]
    assert [block.get("text") for block in message["content"]] == ["One.", None, "Two.!"]


def test_an_answer_that_fails_says_so() -> None:
    fold = MessageEvents(MessageFrame("msg_1", "glm"), CountedIds())
    events = [*fold.begin(), *fold.feed(SCRIPTS["text"][0]), *fold.fail(Problem(500, "out of cells"))]
    assert events[-1] == {"type": "error", "error": {"type": "api_error", "message": "out of cells"}}
