"""A stream of events folds into one answer."""

from glm_gguf.chat.events import (
    ChatResult,
    Event,
    Finish,
    ReasoningDelta,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallStart,
    Usage,
    coalesce,
    collect,
)
from glm_gguf.chat.messages import template_messages

STREAM: list[Event] = [
    ReasoningDelta("a"),
    ReasoningDelta("b"),
    TextDelta("c"),
    TextDelta("d"),
    ToolCallStart(0, "f"),
    ToolCallDelta(0, '{"x"'),
    ToolCallDelta(0, ": 1}"),
    ToolCallStart(1, "g"),
    ToolCallDelta(1, "{}"),
    Finish("tool_calls", Usage(3, 1, 2)),
]


def test_collect_gathers_every_kind() -> None:
    calls = (ToolCall("f", '{"x": 1}'), ToolCall("g", "{}"))
    assert collect(STREAM) == ChatResult("cd", "ab", calls, "tool_calls", Usage(3, 1, 2))


def test_a_stream_without_its_end_counts_as_cut() -> None:
    assert collect(STREAM[:3]).finish_reason == "length"


def test_coalescing_changes_no_answer_and_leaves_no_neighbours() -> None:
    joined = list(coalesce(STREAM))
    assert collect(joined) == collect(STREAM)
    assert joined[:3] == [ReasoningDelta("ab"), TextDelta("cd"), ToolCallStart(0, "f")]
    assert len(joined) == 7


def test_an_answer_goes_back_into_the_history() -> None:
    history = [{"role": "user", "content": "q"}, collect(STREAM).message()]
    assert template_messages(history)[1:] == [
        {"role": "assistant", "content": "cd"},
        {"role": "assistant", "metadata": "f", "content": '{"x": 1}'},
        {"role": "assistant", "metadata": "g", "content": "{}"},
    ]
