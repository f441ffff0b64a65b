"""Histories in OpenAI's form become the messages the templates know."""

import gc
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from glm_gguf.chat.call_results import NOT_ANSWERED
from glm_gguf.chat.messages import template_messages
from glm_gguf.errors import RequestError


def call(name: str, arguments: object = "{}", call_id: str | None = None) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


USER = {"role": "user", "content": "q"}
TWO_CALLS = {
    "role": "assistant",
    "content": None,
    "tool_calls": [call("f", '{"a": 1}', "x"), call("g", {"北": 2}, "y")],
}
RESULT_X = {"role": "tool", "tool_call_id": "x", "content": "1"}
RESULT_Y = {"role": "tool", "tool_call_id": "y", "content": "2"}
RENDERED_CALLS = [
    {"role": "assistant", "metadata": "f", "content": '{"a": 1}'},
    {"role": "assistant", "metadata": "g", "content": '{"北": 2}'},
]
OBSERVATIONS = [{"role": "observation", "content": "1"}, {"role": "observation", "content": "2"}]

ACCEPTED: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {
    "plain roles stay": ([USER, {"role": "assistant", "content": "a"}], [USER, {"role": "assistant", "content": "a"}]),
    "developer is system": ([{"role": "developer", "content": "s"}], [{"role": "system", "content": "s"}]),
    "no content is empty": ([{"role": "assistant", "content": None}], [{"role": "assistant", "content": ""}]),
    "a missing content is empty": ([{"role": "assistant"}], [{"role": "assistant", "content": ""}]),
    "text parts are lines": (
        [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}, "c"]}],
        [{"role": "user", "content": "a\nb\nc"}],
    ),
    "other fields are left out": ([{**USER, "name": "me", "reasoning_content": "x"}], [USER]),
    "calls and results": ([TWO_CALLS, RESULT_X, RESULT_Y], [*RENDERED_CALLS, *OBSERVATIONS]),
    "results in another order follow their calls": ([TWO_CALLS, RESULT_Y, RESULT_X], [*RENDERED_CALLS, *OBSERVATIONS]),
    "results without ids follow the order": (
        [TWO_CALLS, {"role": "tool", "content": "1"}, {"role": "tool", "content": "2"}, USER],
        [*RENDERED_CALLS, *OBSERVATIONS, USER],
    ),
    "calls without ids take any": (
        [{"role": "assistant", "tool_calls": [call("f")]}, RESULT_X],
        [{"role": "assistant", "metadata": "f", "content": "{}"}, OBSERVATIONS[0]],
    ),
    "prose beside a call comes first": (
        [{"role": "assistant", "content": "Wait.", "tool_calls": [call("f")]}],
        [{"role": "assistant", "content": "Wait."}, {"role": "assistant", "metadata": "f", "content": "{}"}],
    ),
    "no arguments are an empty object": (
        [{"role": "assistant", "tool_calls": [call("f", ""), call("f", None)]}],
        [{"role": "assistant", "metadata": "f", "content": "{}"}] * 2,
    ),
    "an empty list of calls is an answer": (
        [{"role": "assistant", "content": "a", "tool_calls": []}],
        [{"role": "assistant", "content": "a"}],
    ),
    "the template's own form stays": (
        [USER, RENDERED_CALLS[0], OBSERVATIONS[0]],
        [USER, RENDERED_CALLS[0], OBSERVATIONS[0]],
    ),
    "calls that wait for their results": ([TWO_CALLS], RENDERED_CALLS),
}  # fmt: skip


@pytest.mark.parametrize(("history", "expected"), ACCEPTED.values(), ids=ACCEPTED.keys())
def test_a_history_is_rewritten(history: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    before = json.dumps(history)
    assert template_messages(history) == expected
    assert json.dumps(history) == before


REFUSED: dict[str, tuple[list[Any], str]] = {
    "no object": (["hello"], "messages[0]"),
    "no role": ([{"content": "x"}], "messages[0].role"),
    "an unknown role": ([USER, {"role": "function", "content": "x"}], "messages[1].role"),
    "a role that is no text": ([{"role": ["user"], "content": "x"}], "messages[0].role"),
    "a number as content": ([{"role": "user", "content": 3}], "messages[0].content"),
    "an image": ([{"role": "user", "content": [{"type": "image_url"}]}], "messages[0].content[0].type"),
    "a part without text": ([{"role": "user", "content": [{"type": "text"}]}], "messages[0].content[0].text"),
    "a part that is no object": ([{"role": "user", "content": [3]}], "messages[0].content[0]"),
    "calls that are no list": ([{"role": "assistant", "tool_calls": {"a": 1}}], "messages[0].tool_calls"),
    "a call without function": ([{"role": "assistant", "tool_calls": [{}]}], "messages[0].tool_calls[0].function"),
    "a call without name": (
        [{"role": "assistant", "tool_calls": [call("")]}],
        "messages[0].tool_calls[0].function.name",
    ),
    "a name of two lines": ([{"role": "assistant", "metadata": "a\nb"}], "messages[0].metadata"),
    "arguments in an array": (
        [{"role": "assistant", "tool_calls": [call("f", [1])]}],
        "messages[0].tool_calls[0].function.arguments",
    ),
    "arguments that are no JSON": (
        [{"role": "assistant", "tool_calls": [call("f", {"a": object()})]}],
        "messages[0].tool_calls[0].function.arguments",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("history", "where"), REFUSED.values(), ids=REFUSED.keys())
def test_a_malformed_history_is_refused_with_its_place(history: list[Any], where: str) -> None:
    with pytest.raises(RequestError) as refusal:
        template_messages(history)
    assert refusal.value.field == where


UNANSWERED = {"role": "observation", "content": NOT_ANSWERED}
LOST: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {
    "a call that was interrupted": (
        [USER, TWO_CALLS, RESULT_X, USER],
        [USER, *RENDERED_CALLS, OBSERVATIONS[0], UNANSWERED, USER],
    ),
    "calls of which none was answered": ([TWO_CALLS, USER], [*RENDERED_CALLS, UNANSWERED, UNANSWERED, USER]),
    "a call in the template's own form that was interrupted": (
        [RENDERED_CALLS[0], USER],
        [RENDERED_CALLS[0], UNANSWERED, USER],
    ),
    "a call without its result at the end, beside one that has it": (
        [TWO_CALLS, RESULT_Y],
        [*RENDERED_CALLS, UNANSWERED, OBSERVATIONS[1]],
    ),
    "a result whose call was left out": ([USER, RESULT_X, USER], [USER, OBSERVATIONS[0], USER]),
    "a result at the start": ([RESULT_X, USER], [OBSERVATIONS[0], USER]),
    "a result without an id and without a call": ([{"role": "tool", "content": "1"}], [OBSERVATIONS[0]]),
    "a result of an unknown call": (
        [TWO_CALLS, RESULT_X, {**RESULT_Y, "tool_call_id": "z"}],
        [*RENDERED_CALLS, OBSERVATIONS[0], UNANSWERED, OBSERVATIONS[1]],
    ),
    "a second result of a call": (
        [TWO_CALLS, RESULT_X, RESULT_Y, RESULT_X, USER],
        [*RENDERED_CALLS, *OBSERVATIONS, OBSERVATIONS[0], USER],
    ),
    "a result behind a user's message": (
        [TWO_CALLS, RESULT_X, USER, RESULT_Y],
        [*RENDERED_CALLS, *OBSERVATIONS, USER],
    ),
    "a result without an id behind a user's message": (
        [TWO_CALLS, RESULT_X, USER, {"role": "tool", "content": "2"}],
        [*RENDERED_CALLS, *OBSERVATIONS, USER],
    ),
    "a result before its call": ([RESULT_Y, TWO_CALLS, RESULT_X], [*RENDERED_CALLS, *OBSERVATIONS]),
    "calls in two messages": (
        [{**TWO_CALLS, "tool_calls": [one]} for one in TWO_CALLS["tool_calls"]] + [RESULT_Y, RESULT_X],
        [*RENDERED_CALLS, *OBSERVATIONS],
    ),
    "an id that comes again every turn": (
        [*[{**TWO_CALLS, "tool_calls": [call("f", '{"a": 1}', "x")]}, RESULT_X] * 2, USER],
        [*[RENDERED_CALLS[0], OBSERVATIONS[0]] * 2, USER],
    ),
    "an id that comes twice in a turn": (
        [
            {"role": "assistant", "tool_calls": [call("f", '{"a": 1}', "x"), call("g", {"北": 2}, "x")]},
            RESULT_X,
            {**RESULT_X, "content": "2"},
        ],
        [*RENDERED_CALLS, *OBSERVATIONS],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("history", "expected"), LOST.values(), ids=LOST.keys())
def test_calls_and_results_that_lost_each_other_are_brought_together(
    history: list[dict[str, Any]], expected: list[dict[str, Any]]
) -> None:
    assert template_messages(history) == expected


CROWDS: dict[str, Callable[[int], list[dict[str, Any]]]] = {
    "calls of one id, each in a turn of its own": lambda count: [
        *[{"role": "assistant", "tool_calls": [call("f", "{}", "x")]}, USER] * count,
        *[RESULT_X] * count,
    ],
    "calls of one id, made together": lambda count: [
        {"role": "assistant", "tool_calls": [call("f", "{}", "x")] * count},
        *[RESULT_X] * count,
    ],
    "messages of one call behind each other": lambda count: [
        *[{"role": "assistant", "tool_calls": [call("f", "{}", "x")]}] * count,
        *[RESULT_X] * count,
    ],
    "calls and results without ids": lambda count: [
        {"role": "assistant", "tool_calls": [call("f", "{}")] * count},
        *[{"role": "tool", "content": RESULT_X["content"]}] * count,
    ],
    "results of ids that no call bears": lambda count: [
        {"role": "assistant", "tool_calls": [call("f", "{}")] * count},
        *[RESULT_X] * count,
    ],
}


@pytest.mark.parametrize("crowd", CROWDS.values(), ids=CROWDS.keys())
def test_many_calls_and_results_are_paired_in_time_that_grows_with_their_number(
    crowd: Callable[[int], list[dict[str, Any]]],
) -> None:
    def seconds(count: int) -> float:
        history = crowd(count)
        gc.collect()
        gc.disable()  # or it would walk what other tests left
        try:
            started = time.process_time()
            assert template_messages(history).count(OBSERVATIONS[0]) == count
            return time.process_time() - started
        finally:
            gc.enable()

    # 20 times on an idle machine; quadratic growth would be 400 times.
    few, many = (min(seconds(count) for _ in range(3)) for count in (500, 10000))
    assert many < 100 * max(few, 0.001)


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
PARTS: dict[str, tuple[Any, str]] = {
    "text of another API": ([{"type": "input_text", "text": "a"}, {"type": "output_text", "text": "b"}], "a\nb"),
    "an image beside text": ([{"type": "text", "text": "a"}, IMAGE], "a\n[an image that this model cannot see]"),
    "a sound": ([{"type": "input_audio"}], "[a sound that this model cannot hear]"),
    "a file with its name": ([{"type": "file", "filename": "a.pdf"}], "[a file that this model cannot read: a.pdf]"),
    "a kind that nobody knows": ([{"type": "smell"}], "[a part of type 'smell' that this model cannot read]"),
    "text in a kind that nobody knows": ([{"type": "note", "text": "a"}], "a"),
    "a document of text": (
        [{"type": "document", "title": "T", "source": {"type": "text", "media_type": "text/plain", "data": "a"}}],
        "T\na",
    ),
    "a document of blocks": (
        [{"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "a"}]}}],
        "a",
    ),
    "a document that is no text": (
        [{"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}}],
        "[a document that this model cannot read]",
    ),
    "what a search found": (
        [{"type": "search_result", "title": "T", "source": "https://a", "content": [{"type": "text", "text": "a"}]}],
        "T\nhttps://a\na",
    ),
    "a tool that was found": ([{"type": "tool_reference", "tool_name": "f"}], "the tool f"),
    "an object": ({"a": [1]}, '{"a": [1]}'),
    "a number": (5, "5"),
    "a truth": (False, "false"),
    "objects that are no parts": ([{"a": "ü"}], '[{"a": "ü"}]'),
    "numbers": ([1, 2], "[1, 2]"),
    "a resource of MCP": ([{"type": "resource", "resource": {"uri": "a:b", "text": "a"}}], "a"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "text"), PARTS.values(), ids=PARTS.keys())
@pytest.mark.parametrize("role", ["tool", "observation"])
def test_parts_of_a_result_become_text(content: Any, text: str, role: str) -> None:
    assert template_messages([{"role": role, "content": content}]) == [{"role": "observation", "content": text}]


def test_an_image_that_the_assistant_once_gave_is_a_line_too_and_a_thought_nothing() -> None:
    content = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "a"}, IMAGE]
    told = template_messages([{"role": "assistant", "content": content}])
    assert told[0]["content"] == "a\n[an image that this model cannot see]"


@pytest.mark.parametrize("part", [IMAGE, {"type": "input_audio"}, {"type": "file"}, {"type": "document", "source": {}}])
@pytest.mark.parametrize("role", ["user", "system"])
def test_a_users_unreadable_part_is_refused(part: dict[str, Any], role: str) -> None:
    with pytest.raises(RequestError, match="read text") as refusal:
        template_messages([{"role": role, "content": [part]}])
    assert refusal.value.field == "messages[0].content[0].type"


def test_an_image_that_was_answered_is_a_line_and_the_next_is_refused() -> None:
    old: list[dict[str, Any]] = [{"role": "user", "content": [IMAGE]}, {"role": "assistant", "content": "A cat."}]
    told = template_messages([*old, {"role": "user", "content": "Its colour?"}])
    assert told[0]["content"] == "[an image that this model cannot see]"
    with pytest.raises(RequestError, match="read text") as refusal:
        template_messages([*old, {"role": "user", "content": [IMAGE]}])
    assert refusal.value.field == "messages[2].content[0].type"


def test_a_call_of_a_custom_tool_has_its_text_as_an_argument() -> None:
    call = {"id": "a", "type": "custom", "custom": {"name": "patch", "input": "x"}}
    told = template_messages([{"role": "assistant", "tool_calls": [call]}])
    assert told == [{"role": "assistant", "metadata": "patch", "content": '{"input": "x"}'}]


def test_metadata_that_names_no_function_is_the_clients_own() -> None:
    told = template_messages([{"role": "assistant", "content": "a", "metadata": {"id": 5}}])
    assert told == [{"role": "assistant", "content": "a"}]


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"role": "wizard", "content": "x"}, "messages[0].role"),
        ({"role": "user"}, "messages[0].content"),
        ({"role": "user", "content": 5}, "messages[0].content"),
        ({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"x": {1}}}}]}, None),
        ({"role": "tool", "content": {"x": {1}}}, "messages[0].content"),
        ("a text among messages", "messages[0]"),
    ],
    ids=["role", "no content", "number", "arguments", "result", "text"],
)
def test_every_bad_message_is_one_kind_of_error(message: Any, field: str | None) -> None:
    with pytest.raises(RequestError) as refusal:
        template_messages([message])
    assert refusal.value.field == (field or "messages[0].tool_calls[0].function.arguments")
