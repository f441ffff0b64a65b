"""An answer becomes the replies that Ollama's client understands, whole and in lines."""

from __future__ import annotations

import json
from typing import Any

import ollama
import pytest
from hypothesis import given, settings
from server.answer_scripts import SCRIPTS, answers, split

from glm_gguf.chat.events import (
    Event,
    Finish,
    ReasoningDelta,
    TextDelta,
    Timings,
    ToolCallCut,
    ToolCallDelta,
    ToolCallStart,
    Usage,
    collect,
)
from glm_gguf.server.ollama.events import ReplyEvents
from glm_gguf.server.ollama.response import ReplyForm

EVERY_SCRIPT = pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())


def folded(script: list[Event], *, chat: bool = True) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the lines of a stream, and the whole reply."""
    fold = ReplyEvents(ReplyForm(chat, "glm", 0.0, 0.0), logprobs=True)
    lines = [json.loads(reply.as_json()) for event in script for reply in fold.feed(event)]
    return lines, json.loads(fold.whole.as_json())


def texts(replies: list[dict[str, Any]]) -> tuple[str, str, list[Any]]:
    """Return text, thought and calls of replies."""
    messages = [reply.get("message") or {**reply, "content": reply["response"]} for reply in replies]
    calls = [call["function"] for message in messages for call in message.get("tool_calls", [])]
    return (
        "".join(message["content"] for message in messages),
        "".join(message.get("thinking", "") for message in messages),
        [(call["name"], call["arguments"]) for call in calls],
    )


def require_lines_and_whole_tell_the_answer(script: list[Event]) -> None:
    result = collect(script)
    for chat in (True, False):
        lines, whole = folded(script, chat=chat)
        kind: Any = ollama.ChatResponse if chat else ollama.GenerateResponse
        for reply in (*lines, whole):
            kind.model_validate(reply)
        content, thought, calls = texts(lines)
        assert (content, thought, calls) == texts([whole])
        assert (content, thought) == (result.content, result.reasoning)
        assert [name for name, _ in calls] == [call.name for call in result.tool_calls]
        assert [line["done"] for line in lines[:-1]] == [False] * (len(lines) - 1)
        assert all(line.keys() & {"eval_count", "done_reason"} == set() for line in lines if not line["done"])


@EVERY_SCRIPT
def test_lines_and_whole_tell_the_answer(script: list[Event]) -> None:
    require_lines_and_whole_tell_the_answer(script)


@settings(deadline=None, max_examples=60)
@given(answers())
def test_so_they_do_of_any_answer(script: list[Event]) -> None:
    require_lines_and_whole_tell_the_answer(script)
    require_lines_and_whole_tell_the_answer(split(script))


def test_a_call_is_sent_whole_when_something_follows_it() -> None:
    script = [
        ToolCallStart(0, "f", id="call_1"),
        ToolCallDelta(0, '{"city": '),
        ToolCallDelta(0, '"北京"}'),
        ToolCallStart(1, "g", id="call_2"),
        ToolCallDelta(1, "{}"),
        Finish("tool_calls"),
    ]
    fold = ReplyEvents(ReplyForm(True, "glm", 0.0, 0.0), logprobs=False)
    sent = [len(list(fold.feed(event))) for event in script]
    assert sent == [0, 0, 0, 1, 0, 2]
    functions = [{"index": 0, "name": "f", "arguments": {"city": "北京"}}, {"index": 1, "name": "g", "arguments": {}}]
    calls = [{"id": f"call_{index + 1}", "function": function} for index, function in enumerate(functions)]
    assert json.loads(fold.whole.as_json())["message"] == {"role": "assistant", "content": "", "tool_calls": calls}


def test_a_call_that_was_cut_is_text() -> None:
    script = [ToolCallStart(0, "f"), ToolCallDelta(0, '{"a'), ToolCallCut(0), TextDelta('f\n{"a'), Finish("length")]
    assert texts(folded(script)[0]) == ('f\n{"a', "", [])


def test_the_end_has_counts_and_times_in_nanoseconds() -> None:
    finish = Finish("stop", Usage(9, 4, 7), timings=Timings(0.25, 1.5))
    lines, whole = folded([ReasoningDelta("So."), TextDelta("Yes."), finish])
    for end in (lines[-1], whole):
        assert (end["prompt_eval_count"], end["eval_count"]) == (9, 7)
        assert (end["prompt_eval_duration"], end["eval_duration"]) == (250_000_000, 1_500_000_000)
        assert end["total_duration"] > 0


@pytest.mark.parametrize(
    ("reason", "written"), [("stop", "stop"), ("tool_calls", "stop"), ("length", "length"), ("timeout", "length")]
)
def test_the_end_has_ollamas_reason(reason: Any, written: str) -> None:
    assert folded([Finish(reason)])[1]["done_reason"] == written
