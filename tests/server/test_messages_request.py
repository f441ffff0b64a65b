"""Requests of Anthropic's clients become conversations of ours, or are refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from glm_gguf.chat.call_results import NOT_ANSWERED
from glm_gguf.chat.messages import template_messages
from glm_gguf.errors import RequestError
from glm_gguf.llama.bounds import MOST_INTEGER
from glm_gguf.llama.sampling_params import SamplingParams
from glm_gguf.server.answer_request import AnswerRequest
from glm_gguf.server.anthropic_messages.request import CountRequest, MessageRequest

HELLO = [{"role": "user", "content": "Hello"}]
CALLS = {
    "role": "assistant",
    "content": [
        {"type": "thinking", "thinking": "Two cities.", "signature": "x"},
        {"type": "text", "text": "Let me look."},
        {"type": "tool_use", "id": "toolu_a", "name": "weather", "input": {"city": "北京"}},
        {"type": "tool_use", "id": "toolu_b", "name": "weather", "input": {"city": "Paris"}},
    ],
}


def asked(**fields: Any) -> AnswerRequest:
    body = {"model": "glm", "max_tokens": 9, "messages": HELLO, **fields}
    return MessageRequest.model_validate(body).to_request()


def rendered(*messages: dict[str, Any], **fields: Any) -> list[tuple[str, str]]:
    """Return role (or a call's name) and text of each message for the template."""
    turns = template_messages(asked(messages=list(messages), **fields).messages)
    return [(turn.get("metadata") or turn["role"], turn["content"]) for turn in turns]


def result(call: str, content: Any, **others: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call, "content": content, **others}


def test_results_follow_their_calls_whatever_order_they_come_in() -> None:
    results = [result("toolu_b", "rain"), result("toolu_a", [{"type": "text", "text": "sun"}])]
    told = rendered(*HELLO, CALLS, {"role": "user", "content": results})
    assert told == [
        ("user", "Hello"),
        ("assistant", "Let me look."),
        ("weather", '{"city": "北京"}'),
        ("weather", '{"city": "Paris"}'),
        ("observation", "sun"),
        ("observation", "rain"),
    ]


def test_text_beside_results_comes_behind_them() -> None:
    content = [{"type": "text", "text": "And?"}, result("toolu_a", "sun"), result("toolu_b", None)]
    told = rendered(*HELLO, CALLS, {"role": "user", "content": content})
    assert told[-3:] == [("observation", "sun"), ("observation", ""), ("user", "And?")]


def test_calls_and_results_that_lost_each_other() -> None:
    results = {"role": "user", "content": [result("toolu_b", "rain"), result("toolu_x", "snow")]}
    assert rendered(*HELLO, CALLS, *HELLO, results)[2:] == [
        ("weather", '{"city": "北京"}'),
        ("weather", '{"city": "Paris"}'),
        ("observation", NOT_ANSWERED),
        ("observation", "rain"),
        ("user", "Hello"),
        ("observation", "snow"),
    ]


def test_a_result_can_be_an_error() -> None:
    content = [result("toolu_a", "no such city", is_error=True), result("toolu_b", "rain")]
    told = rendered(*HELLO, CALLS, {"role": "user", "content": content})
    assert told[-2] == ("observation", '{"error": "no such city"}')


@pytest.mark.parametrize("system", ["Be brief.", [{"type": "text", "text": "Be brief.", "cache_control": {}}]])
def test_system_comes_first(system: Any) -> None:
    assert rendered(*HELLO, system=system) == [("system", "Be brief."), ("user", "Hello")]


def test_sampling_and_options() -> None:
    schema = {"type": "object", "properties": {}}
    made = asked(
        temperature=0.5,
        top_p=0.9,
        top_k=4,
        stop_sequences=["END"],
        thinking={"type": "enabled", "budget_tokens": 1024},
        tools=[{"name": "f", "description": "d", "input_schema": schema, "cache_control": {"type": "ephemeral"}}],
        tool_choice={"type": "tool", "name": "f", "disable_parallel_tool_use": True},
        output_config={"effort": "low", "format": {"type": "json_schema", "schema": schema}},
        metadata={"user_id": "me"},
    )
    assert made.sampling == SamplingParams(0.5, 4, 0.9, max_tokens=9, stop=("END",), thinking_budget=1024)
    assert list(made.tools) == [
        {"type": "function", "function": {"name": "f", "description": "d", "parameters": schema}}
    ]
    assert made.options == {
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "parallel_tool_calls": False,
        "response_format": {"type": "json_schema", "json_schema": {"schema": schema}},
    }


@pytest.mark.parametrize(("word", "ours"), [("auto", "auto"), ("any", "required"), ("none", "none")])
def test_tool_choices(word: str, ours: str) -> None:
    assert asked(tool_choice={"type": word}).options == {"tool_choice": ours, "parallel_tool_calls": True}


THOUGHTS = {
    "not asked for": (None, "hidden", None),
    "enabled": ({"type": "enabled", "budget_tokens": 7}, "shown", 7),
    "adaptive": ({"type": "adaptive"}, "shown", None),
    "omitted": ({"type": "adaptive", "display": "omitted"}, "omitted", None),
    "disabled": ({"type": "disabled"}, "hidden", 0),
}


@pytest.mark.parametrize(("thinking", "shown", "budget"), THOUGHTS.values(), ids=THOUGHTS.keys())
def test_thoughts(thinking: Any, shown: str, budget: int | None) -> None:
    request = MessageRequest.model_validate({"model": "glm", "max_tokens": 9, "messages": HELLO, "thinking": thinking})
    assert request.thoughts == shown
    assert request.to_request().sampling.thinking_budget == budget


EFFORTS = {
    "low effort": ({"output_config": {"effort": "low"}}, 2048),
    "the highest effort": ({"output_config": {"effort": "max"}}, None),
    "low effort, and nothing thought": ({"output_config": {"effort": "low"}, "thinking": {"type": "disabled"}}, 0),
    "low effort, and a budget": (
        {"output_config": {"effort": "low"}, "thinking": {"type": "enabled", "budget_tokens": 4096.0}},
        4096,
    ),
}


@pytest.mark.parametrize(("fields", "budget"), EFFORTS.values(), ids=EFFORTS.keys())
def test_an_effort_limits_the_thought(fields: dict[str, Any], budget: int | None) -> None:
    assert asked(**fields).sampling.thinking_budget == budget


BEGUN = {
    "text": ("The weather in Par", True, True),
    "blocks": ([{"type": "text", "text": "The weather in Par"}], True, True),
    "a thought and text": ([{"type": "thinking", "thinking": "a"}, {"type": "text", "text": "{"}], True, True),
    "no text": ("", False, False),
    "nothing": ([], False, False),
    "null": (None, False, False),
    "a thought": ([{"type": "thinking", "thinking": "a"}], False, False),
    "a call": ([CALLS["content"][2]], False, True),
}


@pytest.mark.parametrize(("content", "begun", "kept"), BEGUN.values(), ids=BEGUN.keys())
def test_a_last_message_of_the_assistant_is_the_beginning_of_the_answer(content: Any, begun: bool, kept: bool) -> None:
    made = asked(messages=[*HELLO, {"role": "assistant", "content": content}])
    assert made.options.get("continue_final_message", False) is begun
    assert (made.messages[-1]["role"] == "assistant") is kept


OFF: dict[str, tuple[dict[str, Any], Any]] = {
    "no limit": ({"max_tokens": -1}, {"max_tokens": MOST_INTEGER}),
    "a length with a point": ({"max_tokens": 5.0}, {"max_tokens": 5}),
    "no cut": ({"top_k": -1}, {"top_k": 0}),
    "a cut with a point": ({"top_k": 4.0}, {"top_k": 4}),
    "nulls": ({"top_k": None, "temperature": None, "stop_sequences": None, "thinking": None, "tools": None}, {}),
}


@pytest.mark.parametrize(("fields", "sampling"), OFF.values(), ids=OFF.keys())
def test_values_that_mean_off_are_read(fields: dict[str, Any], sampling: dict[str, Any]) -> None:
    assert asked(**fields).sampling == SamplingParams(**{"max_tokens": 9, **sampling})


def test_the_older_field_of_a_form_means_the_same() -> None:
    form = {"type": "json_schema", "schema": {"type": "object"}}
    assert asked(output_format=form).options == asked(output_config={"format": form}).options


def test_counting_needs_no_length() -> None:
    assert CountRequest.model_validate({"model": "glm", "messages": HELLO}).to_request().messages == asked().messages


SERVED: dict[str, tuple[list[dict[str, Any]], list[tuple[str, str]]]] = {
    "a search": (
        [
            {"type": "text", "text": "Let me look."},
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}},
            {
                "type": "web_search_tool_result",
                "tool_use_id": "s",
                "content": [{"type": "web_search_result", "url": "https://a", "title": "A", "encrypted_content": "AA"}],
            },
            {"type": "text", "text": "Found."},
        ],
        [
            ("assistant", "Let me look."),
            ("web_search", '{"query": "q"}'),
            ("observation", '{"type": "web_search_result", "url": "https://a", "title": "A"}'),
            ("assistant", "Found."),
        ],
    ),
    "a tool of a server": (
        [
            {"type": "mcp_tool_use", "id": "m", "name": "add", "server_name": "s", "input": {}},
            {"type": "mcp_tool_result", "tool_use_id": "m", "content": [{"type": "text", "text": "2"}]},
        ],
        [("add", "{}"), ("observation", "2")],
    ),
    "a tool that failed": (
        [
            {"type": "server_tool_use", "id": "s", "name": "code_execution", "input": {"code": "1"}},
            {"type": "code_execution_tool_result", "tool_use_id": "s", "is_error": True, "content": "no"},
        ],
        [("code_execution", '{"code": "1"}'), ("observation", '{"error": "no"}')],
    ),
    "a compaction": ([{"type": "compaction", "content": "So far."}], [("assistant", "So far.")]),
    "an image": ([{"type": "image", "source": {}}], [("assistant", "[an image that this model cannot see]")]),
    "a thought": ([{"type": "redacted_thinking", "data": "AA"}, {"type": "text", "text": "a"}], [("assistant", "a")]),
    "a word to the service": ([{"type": "fallback", "from": {}, "to": {}}], []),
}  # fmt: skip


@pytest.mark.parametrize(("content", "told"), SERVED.values(), ids=SERVED.keys())
def test_what_a_service_put_into_the_assistants_message_is_read(
    content: list[dict[str, Any]], told: list[tuple[str, str]]
) -> None:
    user = ("user", "Hello")
    assert rendered(*HELLO, {"role": "assistant", "content": content}, *HELLO) == [user, *told, user]


RETURNED = {
    "an image": ({"type": "image", "source": {"type": "base64"}}, "[an image that this model cannot see]"),
    "a tool that was found": ({"type": "tool_reference", "tool_name": "f"}, "the tool f"),
    "a document of text": ({"type": "document", "source": {"type": "text", "data": "a"}}, "a"),
    "a document that is none": (
        {"type": "document", "title": "T", "source": {"type": "base64"}},
        "[a document that this model cannot read: T]",
    ),
    "what a search found": (
        {"type": "search_result", "title": "T", "source": "s", "content": [{"type": "text", "text": "a"}]},
        "T\ns\na",
    ),
}


@pytest.mark.parametrize(("block", "text"), RETURNED.values(), ids=RETURNED.keys())
def test_blocks_of_a_result_become_text(block: dict[str, Any], text: str) -> None:
    results = [result("toolu_a", [{"type": "text", "text": "See:"}, block]), result("toolu_b", None)]
    told = rendered(*HELLO, CALLS, {"role": "user", "content": results})
    assert told[-2] == ("observation", f"See:\n{text}")


def test_a_function_of_an_unknown_type_is_offered() -> None:
    request = CountRequest.model_validate(
        {"model": "glm", "messages": HELLO, "tools": [{"type": "custom_2030", "name": "f", "input_schema": {}}]}
    )
    assert [tool["function"]["name"] for tool in request.to_request().tools] == ["f"]
    assert request.left_out == []


def test_a_document_of_text_may_come_from_the_user() -> None:
    block = {"type": "document", "title": "T", "source": {"type": "text", "media_type": "text/plain", "data": "a"}}
    assert rendered({"role": "user", "content": [block]}) == [("user", "T\na")]


SERVICES: list[dict[str, Any]] = [
    {"type": "web_search_20250305", "name": "web_search", "max_uses": 3},
    {"type": "bash_20250124", "name": "bash"},
    {"type": "mcp_toolset", "mcp_server_name": "s"},
]


def test_anthropics_own_tools_are_left_out_and_named() -> None:
    body = {"model": "glm", "messages": HELLO, "tools": [*SERVICES, {"type": "custom", "name": "f"}]}
    request = CountRequest.model_validate(body)
    assert [tool["function"]["name"] for tool in request.to_request().tools] == ["f"]
    assert request.left_out == [f"tools:{tool['type']}" for tool in SERVICES]


BILLING = "x-anthropic-billing-header: cc_version=2.1.117.48f; cc_entrypoint=cli; cch={};"
BRIEF = {"type": "text", "text": "Be brief."}
BILLED = {
    "a block of its own": [{"type": "text", "text": BILLING}, BRIEF],
    "the first line": BILLING + "\nBe brief.",
    "joined to the next": BILLING + "Be brief.",
    "with an empty line": [{"type": "text", "text": BILLING + "\n"}, BRIEF],
}


@pytest.mark.parametrize("system", BILLED.values(), ids=BILLED.keys())
def test_a_line_for_the_service_that_changes_with_every_request_is_left_out(system: Any) -> None:
    for value in ("71fea", "00000"):
        filled = json.loads(json.dumps(system).replace("cch={}", f"cch={value}"))
        assert rendered(*HELLO, system=filled) == [("system", "Be brief."), ("user", "Hello")]


def test_a_system_prompt_of_nothing_else_is_none() -> None:
    assert rendered(*HELLO, system=BILLING.format("71fea")) == [("user", "Hello")]


MEANT = {
    "about the header": "x-anthropic-billing-header: is a line of Claude Code's; leave it out.",
    "behind other text": "Be brief.\n" + BILLING,
    "another header": "x-request-id: cch=71fea;\nBe brief.",
}


@pytest.mark.parametrize("system", MEANT.values(), ids=MEANT.keys())
def test_what_a_user_may_have_meant_stays(system: str) -> None:
    assert rendered(*HELLO, system=system)[0] == ("system", system)


IMAGE = {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}
REFUSED = {
    "an image": ({"messages": [{"role": "user", "content": [IMAGE]}]}, "messages[0].content[0].type", "'image'"),
    "a document": (
        {"messages": [{"role": "user", "content": [{"type": "document"}]}]},
        "messages[0].content[0].type",
        "'document'",
    ),
    "a call by the user": (
        {"messages": [{"role": "user", "content": [CALLS["content"][2]]}]},
        "messages[0].content[0].type",
        "'tool_use'",
    ),
    "a result by the assistant": (
        {"messages": [*HELLO, {"role": "assistant", "content": [result("a", "x")]}, *HELLO]},
        "messages[1].content[0].type",
        "'tool_result'",
    ),
    "a user's message of nothing": (
        {
            "messages": [
                *HELLO,
                CALLS,
                {"role": "user", "content": [result("toolu_a", "1")]},
                {"role": "user", "content": None},
            ]
        },
        "messages[3]",
        "no content",
    ),
    "an image behind results": (
        {
            "messages": [
                *HELLO,
                CALLS,
                {"role": "user", "content": [result("toolu_a", "1"), result("toolu_b", "2"), IMAGE]},
            ]
        },
        "messages[2].content[2].type",
        "'image'",
    ),
    "a function in OpenAI's form": (
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
        "tools[0]",
        "input_schema",
    ),
    "a function without a name": ({"tools": [{"input_schema": {}}]}, "tools[0]", "`name`"),
    "calls in OpenAI's form": (
        {"messages": [*HELLO, {"role": "assistant", "content": "", "tool_calls": [{"id": "a"}]}]},
        "messages[1].tool_calls",
        "tool_use",
    ),
    "nothing but a thought": (
        {"messages": [{"role": "assistant", "content": [{"type": "thinking", "thinking": "a"}]}]},
        "messages",
        "no message",
    ),
    "a choice of nothing": ({"tool_choice": {"type": "tool"}}, "tool_choice.name", "no function"),
}


@pytest.mark.parametrize(("fields", "where", "what"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_is_refused_by_name(fields: dict[str, Any], where: str, what: str) -> None:
    with pytest.raises(RequestError) as caught:
        asked(**fields)
    assert caught.value.field == where
    assert what in caught.value.what


MALFORMED = {
    "no messages": {"messages": []},
    "no role": {"messages": [{"content": "Hello"}]},
    "a text of numbers": {"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]},
    "a length of text": {"max_tokens": "9"},
    "no length": {"max_tokens": 0},
    "an empty stop text": {"stop_sequences": [""]},
}


@pytest.mark.parametrize("fields", MALFORMED.values(), ids=MALFORMED.keys())
def test_wrong_types_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        asked(**fields)
