"""Histories in OpenAI's form become the messages the templates know."""

import json
from typing import Any

import pytest

from glm_gguf.chat.messages import template_messages
from glm_gguf.errors import TemplateError


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
    "a result without a call": ([USER, RESULT_X], "messages[1]"),
    "a result of another call": ([TWO_CALLS, {**RESULT_X, "tool_call_id": "z"}], "messages[1]"),
    "a second result": ([TWO_CALLS, RESULT_X, RESULT_X], "messages[2]"),
    "a call without its result": ([TWO_CALLS, RESULT_X, USER], "messages[0].tool_calls[1]"),
    "a call without its result at the end": ([TWO_CALLS, RESULT_Y], "messages[0].tool_calls[0]"),
}  # fmt: skip


@pytest.mark.parametrize(("history", "where"), REFUSED.values(), ids=REFUSED.keys())
def test_a_malformed_history_is_refused_with_its_place(history: list[Any], where: str) -> None:
    with pytest.raises(TemplateError) as refusal:
        template_messages(history)
    assert refusal.value.where == where
