"""Requests of OpenAI's Responses API become conversations of ours, or are refused by name."""

from __future__ import annotations

import json
from typing import Any, get_args

import httpx
import pytest
from openai.types.responses import ResponseIncludable
from pydantic import ValidationError
from server.serving import Served

from glm_gguf.chat.call_results import NOT_ANSWERED
from glm_gguf.chat.messages import template_messages
from glm_gguf.errors import RequestError
from glm_gguf.llama.bounds import MOST_INTEGER
from glm_gguf.llama.sampling_params import SamplingParams
from glm_gguf.server.answer_request import AnswerRequest
from glm_gguf.server.bodies.ignored_fields import IGNORED_HEADER
from glm_gguf.server.problem import Refused
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


def asked(**fields: Any) -> AnswerRequest:
    return ResponseRequest.model_validate({"input": "Hello", **fields}).to_request()


def rendered(*items: dict[str, Any], **fields: Any) -> list[tuple[str, str]]:
    """Return role (or a call's name) and text of each message for the template."""
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


OFF: dict[str, tuple[dict[str, Any], Any]] = {
    "no limit": ({"max_output_tokens": -1}, {"max_tokens": MOST_INTEGER}),
    "a length with a point": ({"max_output_tokens": 5.0}, {"max_tokens": 5}),
    "likeliest tokens with a point": ({"top_logprobs": 2.0}, {"logprobs": 2}),
    "nulls": ({"temperature": None, "reasoning": None, "text": None, "tools": None, "metadata": None}, {}),
    "no effort": ({"reasoning": {"effort": "none"}}, {"thinking_budget": 0}),
    "minimal effort": ({"reasoning": {"effort": "minimal"}}, {"thinking_budget": 512}),
    "high effort": ({"reasoning": {"effort": "high", "summary": "auto"}}, {}),
}


@pytest.mark.parametrize(("fields", "sampling"), OFF.values(), ids=OFF.keys())
def test_values_that_mean_off_are_read(fields: dict[str, Any], sampling: dict[str, Any]) -> None:
    assert asked(**fields).sampling == SamplingParams(**sampling)


@pytest.mark.parametrize(("context", "named"), [("auto", False), ("current_turn", False), ("all_turns", True)])
def test_which_thoughts_a_model_reads_is_the_templates_matter(served: Served, context: str, named: bool) -> None:
    body = {"input": "Hello", "max_output_tokens": 2, "reasoning": {"context": context}}
    response = httpx.post(f"{served.url}/v1/responses", json=body)
    assert response.status_code == 200, response.text
    assert (response.headers.get(IGNORED_HEADER) == "reasoning.context") == named


def test_plain_text_asks_for_nothing() -> None:
    assert asked(text={"format": {"type": "text"}}).options == {}


def test_log_probabilities_may_be_included() -> None:
    assert asked(include=["message.output_text.logprobs"]).sampling.logprobs == 0
    assert asked(include=["reasoning.encrypted_content"]).sampling.logprobs is None


PATCH = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Edit files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"},
}
CODE = {"type": "custom", "name": "code", "format": {"type": "grammar", "syntax": "regex", "definition": "[0-9]{4}"}}
GIT = {"type": "namespace", "name": "mcp__git", "description": "Git.", "tools": [F, {"type": "custom", "name": "say"}]}
KINDS = ("web_search", "file_search", "local_shell", "image_generation", "tool_search", "shell", "apply_patch")
SERVICES: list[dict[str, Any]] = [
    *({"type": kind} for kind in KINDS),
    {"type": "mcp", "server_label": "s", "server_url": "https://example.org"},
    {"type": "code_interpreter", "container": {"type": "auto"}},
    {"type": "computer_use_preview", "display_width": 9, "display_height": 9, "environment": "linux"},
    {"type": "teleport", "name": 5, "parameters": "none"},
]


def test_tools_that_a_service_runs_are_left_out_and_named() -> None:
    request = ResponseRequest.model_validate({"input": "Hello", "tools": [F, *SERVICES], "tool_choice": "auto"})
    assert [tool["function"]["name"] for tool in request.to_request().tools] == ["f"]
    assert request.left_out == [f"tools:{tool['type']}" for tool in SERVICES]
    assert response_frame(request, "resp_1", "glm", 1)["tools"] == [F]


def test_a_custom_tool_is_a_function_of_one_text() -> None:
    patch, code = (tool["function"] for tool in asked(tools=[PATCH, CODE]).tools)
    assert patch["parameters"] == {
        "type": "object",
        "properties": {"input": {"type": "string"}},
        "required": ["input"],
        "additionalProperties": False,
    }
    assert "Edit files." in patch["description"]
    assert "start: /.+/" in patch["description"]
    assert code["parameters"]["properties"]["input"] == {"type": "string", "pattern": "^(?:[0-9]{4})$"}


def test_tools_of_a_namespace_have_both_names() -> None:
    made = asked(tools=[GIT, {**GIT, "name": "a_"}])
    assert [tool["function"]["name"] for tool in made.tools] == ["mcp__git__f", "mcp__git__say", "a_f", "a_say"]


CHOICES = {
    "a custom tool": ({"type": "custom", "name": "apply_patch"}, "apply_patch"),
    "a function of a namespace": ({"type": "function", "name": "f", "namespace": "mcp__git"}, "mcp__git__f"),
    "a function of a namespace by its own name": ({"type": "function", "name": "f"}, "mcp__git__f"),
    "a function of a namespace by both names": ({"type": "function", "name": "mcp__git__f"}, "mcp__git__f"),
}


@pytest.mark.parametrize(("choice", "name"), CHOICES.values(), ids=CHOICES.keys())
def test_a_tool_may_be_chosen(choice: dict[str, Any], name: str) -> None:
    made = asked(tools=[PATCH, GIT], tool_choice=choice)
    assert made.options == {"tool_choice": {"type": "function", "function": {"name": name}}}


def test_tools_may_be_declared_on_the_way() -> None:
    items = [
        {"type": "tool_search_output", "call_id": "s", "execution": "client", "status": "completed", "tools": [GIT, F]},
        USER,
        {"type": "additional_tools", "role": "developer", "tools": [PATCH]},
    ]
    made = asked(input=items, tools=[F, G])
    names = [tool["function"]["name"] for tool in made.tools]
    assert names == ["f", "g", "mcp__git__f", "mcp__git__say", "apply_patch"]


CUSTOM_CALL = {"type": "custom_tool_call", "call_id": "a", "name": "apply_patch", "input": '*** "x"\n'}
SHELL = {"type": "exec", "command": ["ls"], "env": {}}
HISTORIES: dict[str, tuple[list[dict[str, Any]], list[tuple[str, str]]]] = {
    "a custom tool": (
        [CUSTOM_CALL, {"type": "custom_tool_call_output", "call_id": "a", "output": "done"}],
        [("apply_patch", '{"input": "*** \\"x\\"\\n"}'), ("observation", "done")],
    ),
    "a tool of a namespace": (
        [
            {**call("a", "{}"), "namespace": "mcp__git"},
            {**CUSTOM_CALL, "call_id": "b", "namespace": "n_", "input": ""},
            output("a", "1"),
            output("b", "2"),
        ],
        [("mcp__git__f", "{}"), ("n_apply_patch", '{"input": ""}'), ("observation", "1"), ("observation", "2")],
    ),
    "a shell": (
        [
            {"type": "local_shell_call", "id": "i", "call_id": "a", "status": "completed", "action": SHELL},
            {"type": "local_shell_call_output", "id": "a", "output": "README"},
        ],
        [("local_shell", json.dumps(SHELL)), ("observation", "README")],
    ),
    "another shell": (
        [
            {"type": "shell_call", "call_id": "a", "status": "completed", "action": {"commands": ["ls"]}},
            {"type": "shell_call_output", "call_id": "a", "output": [{"stdout": "README", "stderr": ""}]},
        ],
        [("shell", '{"commands": ["ls"]}'), ("observation", '{"stdout": "README", "stderr": ""}')],
    ),
    "a screen": (
        [
            {"type": "computer_call", "id": "i", "call_id": "a", "action": {"type": "screenshot"}},
            {"type": "computer_call_output", "call_id": "a", "output": {"type": "computer_screenshot"}},
        ],
        [("computer", '{"type": "screenshot"}'), ("observation", "[an image that this model cannot see]")],
    ),
    "a tool of a server": (
        [{"type": "mcp_call", "id": "m", "server_label": "s", "name": "add", "arguments": "{}", "output": "2"}],
        [("add", "{}"), ("observation", "2")],
    ),
    "a tool of a server that failed": (
        [{"type": "mcp_call", "id": "m", "server_label": "s", "name": "add", "arguments": "{}", "error": "no"}],
        [("add", "{}"), ("observation", "no")],
    ),
    "an interpreter": (
        [{"type": "code_interpreter_call", "id": "c", "code": "1", "outputs": [{"type": "logs", "logs": "1"}]}],
        [("code_interpreter", '{"code": "1"}'), ("observation", '{"type": "logs", "logs": "1"}')],
    ),
    "an image that a tool returned": (
        [call("a", "{}"), output("a", [{"type": "input_text", "text": "t"}, {"type": "input_image"}])],
        [("f", "{}"), ("observation", "t\n[an image that this model cannot see]")],
    ),
    "nothing that a tool returned": ([call("a", "{}"), output("a", None)], [("f", "{}"), ("observation", "")]),
}


@pytest.mark.parametrize(("items", "told"), HISTORIES.values(), ids=HISTORIES.keys())
def test_calls_of_other_tools_and_their_results_are_read(
    items: list[dict[str, Any]], told: list[tuple[str, str]]
) -> None:
    assert rendered(USER, *items, USER) == [USER_TOLD, *told, USER_TOLD]


NOT_READ = [
    {"type": "web_search_call", "id": "w", "status": "completed", "action": {"type": "search", "query": "q"}},
    {"type": "image_generation_call", "id": "i", "status": "completed", "result": "AAAA"},
    {"type": "mcp_list_tools", "id": "l", "server_label": "s", "tools": []},
    {"type": "compaction", "encrypted_content": "AAAA"},
    {"type": "tool_search_call", "arguments": {}, "execution": "client"},
    {"type": "item_reference", "id": "msg_1"},
    {"type": "dream", "content": "x"},
]


def test_items_that_hold_nothing_for_the_model_are_left_out_and_named() -> None:
    thought = {"type": "reasoning", "id": "r", "summary": [], "encrypted_content": "AAAA"}
    request = ResponseRequest.model_validate({"input": [USER, *NOT_READ, {"id": "msg_2"}, thought, USER]})
    assert [message["role"] for message in request.to_request().messages] == ["user", "user"]
    kinds = [item["type"] for item in NOT_READ]
    assert request.left_out == [f"input:{kind}" for kind in [*kinds, "item_reference"]]


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
    "calls in the form of chat completions": (
        {"input": [USER, {"role": "assistant", "content": "", "tool_calls": [{"id": "a"}]}]},
        "input[1].tool_calls",
        "function_call",
    ),
    "no items": ({"input": []}, "input", "no message"),
    "nothing but a thought": ({"input": [{"type": "reasoning", "summary": []}]}, "input", "no message"),
    "the background": ({"background": True}, "background", "background"),
    "a function without a name": ({"tools": [{"type": "function"}]}, "tools[0].name", "no name"),
    "a namespace without a name": ({"tools": [{"type": "namespace", "tools": [F]}]}, "tools[0].name", "no name"),
    "a custom tool without a name, in a namespace": (
        {"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "custom"}]}]},
        "tools[0].tools[0].name",
        "no name",
    ),
    "a choice of a built-in tool": ({"tool_choice": {"type": "file_search"}}, "tool_choice", "'file_search'"),
    "a choice of a built-in tool that was given": (
        {"tools": [F, {"type": "file_search"}], "tool_choice": {"type": "file_search"}},
        "tool_choice",
        "'file_search'",
    ),
    "a call required of built-in tools": (
        {"tools": [{"type": "file_search"}], "tool_choice": "required"},
        "tool_choice",
        "this server does not",
    ),
    "a choice of no tool": (
        {"tools": [F], "tool_choice": {"type": "custom", "name": "x"}},
        "tool_choice",
        "'x'",
    ),
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
    assert caught.value.field == where
    assert what in caught.value.what


@pytest.mark.parametrize("field", ["previous_response_id", "conversation", "prompt"])
def test_what_would_be_stored_is_refused(field: str) -> None:
    with pytest.raises(Refused) as caught:
        asked(**{field: "id_1"})
    assert caught.value.problem.param == field
    assert "the server stores nothing" in caught.value.problem.message


MALFORMED = {
    "no input": {"input": None},
    "an unknown role": {"input": [{"role": "tool", "content": "x"}]},
    "an unknown choice": {"tool_choice": "sometimes"},
    "a length of text": {"max_output_tokens": "9"},
    "a flag of text": {"stream": "yes"},
}


@pytest.mark.parametrize("fields", MALFORMED.values(), ids=MALFORMED.keys())
def test_wrong_types_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        asked(**fields)


@pytest.mark.parametrize("word", get_args(ResponseIncludable))
def test_every_word_of_include_is_known(word: str) -> None:
    assert ResponseRequest.model_validate({"input": "Hello", "include": [word]}).logprobs == (
        0 if word == "message.output_text.logprobs" else None
    )


def test_an_unknown_word_of_include_is_refused(served: Served) -> None:
    body = {"input": "Hello", "include": ["reasoning.encrypted_content", "logprobs"]}
    refused = httpx.post(f"{served.url}/v1/responses", json=body)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "include[1]")
    assert "message.output_text.logprobs" in refused.json()["error"]["message"]
