"""Events become OpenAI's chunks and messages: thoughts, cut calls, and the tokens of the visible text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from glm_gguf.chat.events import (
    Event,
    Finish,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    ToolCallCut,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from glm_gguf.server.chat_completions.chunks import ChunkWriter
from glm_gguf.server.chat_completions.response import AnswerForm, chat_completion
from glm_gguf.server.streams.shown_tokens import ShownTokens


def deltas(*events: Event) -> list[dict[str, Any]]:
    writer = ChunkWriter(1, "glm", "fp_1", AnswerForm())
    chunks = [json.loads(chunk.as_json()) for event in events for chunk in writer.feed(0, event)]
    return [chunk["choices"][0] for chunk in chunks]


def message(*events: Event) -> dict[str, Any]:
    completion = chat_completion([list(events)], "glm", "fp_1", AnswerForm())
    choice: dict[str, Any] = json.loads(completion.as_json())["choices"][0]
    return choice


def drawn(*tokens: str | bytes) -> list[TokenLogprob]:
    return [TokenLogprob(token if isinstance(token, bytes) else token.encode(), -1.0) for token in tokens]


def test_a_thought_has_a_field_of_its_own() -> None:
    events = (ReasoningDelta("Hm"), ReasoningDelta("m."), TextDelta("Yes."), Finish("stop", Usage(3, 0, 4, 2)))
    streamed = [choice["delta"] for choice in deltas(*events)]
    assert streamed == [
        {"role": "assistant", "content": None},
        {"reasoning_content": "Hm"},
        {"reasoning_content": "m."},
        {"content": "Yes."},
        {},
    ]
    whole = message(*events)["message"]
    assert (whole["reasoning_content"], whole["content"]) == ("Hmm.", "Yes.")


def test_an_answer_without_a_thought_does_not_speak_of_one() -> None:
    assert "reasoning_content" not in message(TextDelta("Yes."), Finish("stop"))["message"]


def test_an_empty_answer_is_an_empty_text() -> None:
    assert message(Finish("stop"))["message"]["content"] == ""
    assert [choice["delta"] for choice in deltas(Finish("stop"))] == [{"role": "assistant", "content": ""}, {}]


def test_a_cut_call_stays_in_the_stream_and_is_text_in_a_whole_answer() -> None:
    call = (ToolCallStart(0, "add"), ToolCallDelta(0, '{"a": 1'))
    events = (*call, ToolCallCut(0), TextDelta('add\n{"a": 1'), Finish("length"))
    streamed = deltas(*events)
    assert not any("content" in choice["delta"] for choice in streamed[1:])
    assert streamed[-1]["finish_reason"] == "length"
    whole = message(*events)
    assert (whole["finish_reason"], "tool_calls" in whole["message"]) == ("length", False)
    assert whole["message"]["content"] == 'add\n{"a": 1'


@pytest.mark.parametrize("reason", ["length", "timeout"])
def test_every_cut_is_called_length(reason: Any) -> None:
    assert message(TextDelta("x"), Finish(reason))["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("events", "shown"),
    [
        ([*drawn("\n", "Hel", "lo"), TextDelta("Hello"), *drawn("<|user|>")], ["Hel", "lo"]),
        ([*drawn("\n", "a"), TextDelta("a"), *drawn("b"), TextDelta("b")], ["a", "b"]),
        ([*drawn("\n\n", "a b"), TextDelta("\na"), TextDelta(" b")], ["\n\n", "a b"]),
        ([*drawn("th", "ink"), ReasoningDelta("think"), *drawn("</", "think>", "in"), TextDelta("in")], ["in"]),
        (
            [*drawn("f", "\n", "{}"), ToolCallStart(0, "f"), ToolCallDelta(0, "{}"), *drawn("{}"), TextDelta("{}")],
            ["{}"],
        ),
        ([*drawn(b"\xe4\xbd", b"\xa0"), TextDelta("你")], [b"\xe4\xbd", b"\xa0"]),
        ([*drawn("a", "b", "STOP"), TextDelta("a"), TextDelta("b")], ["a", "b"]),
    ],
    ids=["ends", "pieces", "a token with the newline", "thought", "call", "half characters", "a stop text"],
)
def test_tokens_of_the_visible_text_are_told_from_others(events: list[Event], shown: list[str | bytes]) -> None:
    follower = ShownTokens()
    assert [token for event in events for token in follower.feed(event)] == drawn(*shown)
