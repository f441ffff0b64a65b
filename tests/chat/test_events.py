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
    collect,
)
from glm_gguf.chat.messages import template_messages
from tests.chat.cutting import coalesce

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


def test_every_call_has_an_id_of_its_own_from_stream_to_history() -> None:
    started = [event.id for event in STREAM if isinstance(event, ToolCallStart)]
    result = collect(STREAM)
    assert [call.id for call in result.tool_calls] == started
    assert [call["id"] for call in result.message()["tool_calls"]] == started
    assert len({*started, *(ToolCall("f", "{}").id for _ in range(100))}) == 102


def test_results_refer_to_their_calls_in_any_order() -> None:
    first, second = collect(STREAM).tool_calls
    history = [{"role": "user", "content": "q"}, collect(STREAM).message(), second.result("2"), first.result("1")]
    assert [message["content"] for message in template_messages(history)[-2:]] == ["1", "2"]


def test_an_answer_is_a_message_of_openai() -> None:
    from openai.types.chat import ChatCompletionMessage

    sent = ChatCompletionMessage.model_validate(collect(STREAM).message(), strict=True)
    assert sent.tool_calls is not None
    assert [call.type for call in sent.tool_calls] == ["function", "function"]
