"""What clients of OpenAI's Responses API send becomes a conversation of ours, or is refused by name."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from glm_gguf.chat.messages import template_messages
from glm_gguf.chat.pairing import NOT_ANSWERED
from glm_gguf.engine.sampling import SamplingParams
from glm_gguf.errors import RequestError
from glm_gguf.server.asked import Asked
from glm_gguf.server.errors import Refused
from glm_gguf.server.responses.request import ResponseRequest
from glm_gguf.server.responses.response import response_frame

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
F = {"type": "function", "name": "f", "description": "d", "parameters": SCHEMA}
G = {"type": "function", "name": "g", "parameters": {}, "strict": True}
USER = {"role": "user", "content": "Hello"}
SAID = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Let me look.", "annotations": []}],
}

USER_TOLD, THREE = ("user", "Hello"), ("observation", "3")


def call(call_id: str, arguments: str) -> dict[str, Any]:
    return {"type": "function_call", "id": "fc_1", "call_id": call_id, "name": "f", "arguments": arguments}


def output(call_id: str, text: Any) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": text}


def asked(**fields: Any) -> Asked:
    return ResponseRequest.model_validate({"input": "Hello", **fields}).asked()


def rendered(*items: dict[str, Any], **fields: Any) -> list[tuple[str, str]]:
    """Role (a call's name) and text of what the template is given."""
    turns = template_messages(asked(input=list(items), **fields).messages)
    return [(turn.get("metadata") or turn["role"], turn["content"]) for turn in turns]


def test_a_text_is_a_message_of_the_user() -> None:
    assert template_messages(asked(instructions="Be brief.").messages) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
    ]


def test_messages_in_their_three_forms() -> None:
    typed = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Well?"}]}
    developer = {"role": "developer", "content": "Be brief."}
    told = rendered(developer, USER, SAID, typed)
    assert told == [("system", "Be brief."), ("user", "Hello"), ("assistant", "Let me look."), ("user", "Well?")]


def test_what_the_model_said_is_one_turn_and_results_follow_their_calls() -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "?"}]}
    outputs = [output("call_b", [{"type": "input_text", "text": "rain"}]), output("call_a", "sun")]
    told = rendered(USER, thought, call("call_a", '{"city":"A"}'), SAID, call("call_b", "{}"), *outputs)
    assert told == [
        ("user", "Hello"),
        ("assistant", "Let me look."),
        ("f", '{"city":"A"}'),
        ("f", "{}"),
        ("observation", "sun"),
        ("observation", "rain"),
    ]


def test_a_call_answered_before_the_next() -> None:
    told = rendered(USER, call("a", "{}"), output("a", "1"), call("b", "{}"), output("b", "2"), SAID, USER)
    assert [role for role, _ in told] == ["user", "f", "observation", "f", "observation", "assistant", "user"]


def test_calls_and_results_that_lost_each_other() -> None:
    told = rendered(USER, call("a", "{}"), call("b", "{}"), output("a", "1"), USER, output("c", "3"), output("b", "2"))
    assert told[1:] == [("f", "{}"), ("f", "{}"), *[("observation", text) for text in "12"], USER_TOLD, THREE]
    told = rendered(call("a", "{}"), USER)
    assert told == [("f", "{}"), ("observation", NOT_ANSWERED), USER_TOLD]


def test_a_refusal_is_text() -> None:
    told = rendered(USER, {**SAID, "content": [{"type": "refusal", "refusal": "No."}]}, USER)
    assert told[1] == ("assistant", "No.")


def test_sampling_and_options() -> None:
    made = asked(
        temperature=0.5,
        top_p=0.9,
        max_output_tokens=7,
        top_logprobs=3,
        tools=[F, G],
        tool_choice={"type": "function", "name": "f"},
        parallel_tool_calls=False,
        text={"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}, "verbosity": "low"},
        truncation="auto",
        reasoning={"effort": "none"},
        store=True,
        safety_identifier="me",
    )
    assert made.sampling == SamplingParams(0.5, top_p=0.9, max_tokens=7, logprobs=3, thinking_budget=0)
    assert [tool["function"] for tool in made.tools] == [
        {"name": "f", "description": "d", "parameters": SCHEMA},
        {"name": "g", "parameters": {}, "strict": True},
    ]
    assert made.options == {
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "parallel_tool_calls": False,
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}},
        "on_overflow": "drop_oldest_turns",
    }


def test_plain_text_asks_for_nothing() -> None:
    assert asked(text={"format": {"type": "text"}}).options == {}


def test_log_probabilities_may_be_included() -> None:
    assert asked(include=["message.output_text.logprobs"]).sampling.logprobs == 0
    assert asked(include=["reasoning.encrypted_content"]).sampling.logprobs is None


def test_of_allowed_tools_only_those_are_declared() -> None:
    choice = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "g"}]}
    made = asked(tools=[F, G], tool_choice=choice)
    assert [tool["function"]["name"] for tool in made.tools] == ["g"]
    assert made.options == {"tool_choice": "required"}


def test_a_response_tells_its_request() -> None:
    body = {"input": "Hello", "tools": [F], "text": {"verbosity": "low"}, "metadata": {"a": "b"}, "temperature": 0}
    frame = response_frame(ResponseRequest.model_validate(body), "resp_1", "glm", 1)
    assert frame["tools"] == [F]
    assert frame["text"] == {"format": {"type": "text"}, "verbosity": "low"}
    assert (frame["metadata"], frame["temperature"], frame["tool_choice"]) == ({"a": "b"}, 0, "auto")
    assert frame["store"] is False


IMAGE = {"role": "user", "content": [{"type": "input_image", "image_url": "https://example.org/a.png"}]}
REFUSED = {
    "an image": ({"input": [IMAGE]}, "input[0].content[0].type", "'input_image'"),
    "a file as a result": (
        {"input": [USER, call("a", "{}"), output("a", [{"type": "input_file"}])]},
        "input[2].output[0].type",
        "'input_file'",
    ),
    "an item of a built-in tool": ({"input": [{"type": "web_search_call"}]}, "input[0].type", "'web_search_call'"),
    "a reference": ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0]", "nothing is stored"),
    "a reference without its type": ({"input": [{"id": "msg_1"}]}, "input[0]", "nothing is stored"),
    "the background": ({"background": True}, "background", "background"),
    "a built-in tool": ({"tools": [{"type": "web_search"}]}, "tools[0].type", "'web_search'"),
    "a custom tool": ({"tools": [{"type": "custom", "name": "x"}]}, "tools[0].type", "'custom'"),
    "a function without a name": ({"tools": [{"type": "function"}]}, "tools[0].name", "no name"),
    "a choice of a built-in tool": ({"tool_choice": {"type": "file_search"}}, "tool_choice", "'file_search'"),
    "an allowed tool that is none": (
        {"tools": [F], "tool_choice": {"type": "allowed_tools", "tools": [{"type": "function", "name": "x"}]}},
        "tool_choice.tools",
        "'x'",
    ),
    "a schema that is missing": ({"text": {"format": {"type": "json_schema"}}}, "text.format.schema", "no schema"),
}


@pytest.mark.parametrize(("fields", "where", "what"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_is_refused_by_name(fields: dict[str, Any], where: str, what: str) -> None:
    with pytest.raises(RequestError) as caught:
        asked(**fields)
    assert caught.value.where == where
    assert what in caught.value.what


@pytest.mark.parametrize("field", ["previous_response_id", "conversation", "prompt"])
def test_what_would_be_stored_is_refused(field: str) -> None:
    with pytest.raises(Refused) as caught:
        asked(**{field: "id_1"})
    assert caught.value.problem.param == field
    assert "nothing is stored" in caught.value.problem.message


MALFORMED = {
    "no input": {"input": None},
    "no items": {"input": []},
    "an unknown role": {"input": [{"role": "tool", "content": "x"}]},
    "arguments that are no text": {"input": [{**call("a", "{}"), "arguments": {}}]},
    "an unknown choice": {"tool_choice": "sometimes"},
    "a length of text": {"max_output_tokens": "9"},
    "a flag of text": {"stream": "yes"},
}


@pytest.mark.parametrize("fields", MALFORMED.values(), ids=MALFORMED.keys())
def test_wrong_types_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        asked(**fields)
