"""Every field and type of requests that the installed clients know: each has a decision."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from anthropic.types import beta, message_count_tokens_params, message_create_params
from anthropic.types.beta import message_count_tokens_params as beta_count_params
from anthropic.types.beta import message_create_params as beta_create_params
from openai.types import responses, shared_params
from openai.types.responses import input_token_count_params, response_input_item_param
from openai.types.responses.response_create_params import ResponseCreateParamsStreaming
from openai.types.responses.response_input_item_param import ResponseInputItemParam
from openai.types.responses.tool_param import ToolParam
from pydantic import BaseModel
from typing_extensions import get_type_hints

from glm_gguf.errors import GlmGgufError
from glm_gguf.server.anthropic_messages import blocks
from glm_gguf.server.anthropic_messages import request as messages
from glm_gguf.server.bodies.known_fields import KNOWN_FIELDS
from glm_gguf.server.responses import input_items, tools
from glm_gguf.server.responses.request import ResponseReasoning, ResponseRequest, ResponseText


def fields(params: Any) -> set[str]:
    return set(params.__required_keys__ | params.__optional_keys__)


def declared(schema: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in schema.model_fields.items()}


def types_of(union: Any) -> set[str]:
    """The values of `type` in the members of a union."""
    members = [member for member in get_args(union) if hasattr(member, "__required_keys__")]
    literals = [get_type_hints(member).get("type") for member in members]
    return {value for literal in literals for value in texts(literal)}


def texts(annotation: Any) -> set[str]:
    found: set[str] = set()
    for value in get_args(annotation):
        found |= {value} if isinstance(value, str) else texts(value)
    return found


TOP: dict[str, tuple[Any, type[BaseModel]]] = {
    "responses": (ResponseCreateParamsStreaming, ResponseRequest),
    "tokens of responses": (input_token_count_params.InputTokenCountParams, ResponseRequest),
    "messages": (message_create_params.MessageCreateParamsStreaming, messages.MessageRequest),
    "messages of betas": (beta_create_params.MessageCreateParamsStreaming, messages.MessageRequest),
    "tokens of messages": (message_count_tokens_params.MessageCountTokensParams, messages.CountRequest),
    "tokens of betas": (beta_count_params.MessageCountTokensParams, messages.CountRequest),
}


@pytest.mark.parametrize(("params", "schema"), TOP.values(), ids=TOP.keys())
def test_every_field_of_a_request_is_known(params: Any, schema: type[BaseModel]) -> None:
    assert fields(params) - declared(schema) - set(KNOWN_FIELDS) == set()


ID = {"id": "nothing is stored here that an id could name"}
STATUS = {"status": "what is in a history is done"}
CALLER = {"caller": "calls are the model's", "async": "results come with the next request"}
CACHE = {"cache_control": "what can be cached is"}
DEFERRED = {
    "allowed_callers": "calls are the model's",
    "defer_loading": "the model is told of every tool at once",
    "async": "results come with the next request",
}
PARTS: dict[str, tuple[Any, type[BaseModel], dict[str, str]]] = {
    "a function": (
        responses.FunctionToolParam,
        tools.FunctionTool,
        {**DEFERRED, "output_schema": "it says what the client will send"},
    ),
    "a custom tool": (responses.CustomToolParam, tools.CustomTool, DEFERRED),
    "a namespace": (responses.NamespaceToolParam, tools.NamespaceTool, {}),
    "reasoning": (
        shared_params.Reasoning,
        ResponseReasoning,
        {"context": "no thought of earlier turns is shown", "mode": "there is one model"},
    ),
    "text": (responses.ResponseTextConfigParam, ResponseText, {}),
    "a message": (
        responses.EasyInputMessageParam,
        input_items.InputMessage,
        {"phase": "a message of the assistant is one, in every phase"},
    ),
    "an output message": (
        responses.ResponseOutputMessageParam,
        input_items.InputMessage,
        {**ID, **STATUS, "phase": "a message of the assistant is one, in every phase"},
    ),
    "a call": (responses.ResponseFunctionToolCallParam, input_items.InputCall, {**ID, **STATUS, **CALLER}),
    "a call of a custom tool": (responses.ResponseCustomToolCallParam, input_items.InputCustomCall, {**ID, **CALLER}),
    "a result": (
        response_input_item_param.FunctionCallOutput,
        input_items.InputCallOutput,
        {**ID, **STATUS, **CALLER, "name": "call_id names the call", "namespace": "call_id names the call"},
    ),
    "a custom tool's result": (
        responses.ResponseCustomToolCallOutputParam,
        input_items.InputCallOutput,
        {**ID, **CALLER},
    ),
    "a function of Anthropic's": (
        beta.BetaToolParam,
        messages.MessageTool,
        {**DEFERRED, **CACHE, "eager_input_streaming": "arguments stream as soon as they are certain"},
    ),
    "a choice of any": (beta.BetaToolChoiceAnyParam, messages.MessageToolChoice, {}),
    "a choice of one": (beta.BetaToolChoiceToolParam, messages.MessageToolChoice, {}),
    "thinking": (
        beta.BetaThinkingConfigEnabledParam,
        messages.MessageThinking,
        {"block_binding": "thoughts of earlier turns are not checked"},
    ),
    "adaptive thinking": (
        beta.BetaThinkingConfigAdaptiveParam,
        messages.MessageThinking,
        {"block_binding": "thoughts of earlier turns are not checked"},
    ),
    "the output": (beta.BetaOutputConfigParam, messages.MessageOutput, {}),
    "the form of the output": (beta.BetaJSONOutputFormatParam, messages.MessageFormat, {}),
    "a turn": (beta.BetaUserMessageParam, messages.MessageTurn, CACHE),
    "a text": (beta.BetaTextBlockParam, blocks.TextBlock, {**CACHE, "citations": "the text holds what it cites"}),
    "a use of a tool": (
        beta.BetaToolUseBlockParam,
        blocks.ToolUseBlock,
        {**CACHE, **CALLER, "toolset_name": "the name of a tool is enough"},
    ),
    "a result of a tool": (
        beta.BetaToolResultBlockParam,
        blocks.ToolResultBlock,
        {**CACHE, "toolset_name": "tool_use_id names the call"},
    ),
}


@pytest.mark.parametrize(("params", "schema", "pass_for"), PARTS.values(), ids=PARTS.keys())
def test_every_field_of_a_part_is_read_or_changes_nothing(
    params: Any, schema: type[BaseModel], pass_for: dict[str, str]
) -> None:
    assert fields(params) - declared(schema) - set(pass_for) == set()


OFFERED = {"function", "custom", "namespace"}
RUN_ELSEWHERE = {
    *("file_search", "computer", "computer_use_preview", "web_search", "web_search_2025_08_26", "mcp"),
    *("code_interpreter", "programmatic_tool_calling", "image_generation", "local_shell", "shell", "tool_search"),
    *("web_search_preview", "web_search_preview_2025_03_11", "apply_patch"),
}


def test_every_type_of_tool_is_offered_or_left_out() -> None:
    assert types_of(ToolParam) == OFFERED | RUN_ELSEWHERE


@pytest.mark.parametrize("kind", sorted(RUN_ELSEWHERE))
def test_a_tool_that_is_run_elsewhere_is_left_out_and_named(kind: str) -> None:
    body = {"input": "Hello", "tools": [{"type": kind}, {"type": "function", "name": "f"}]}
    request = ResponseRequest.model_validate(body)
    assert [tool["function"]["name"] for tool in request.to_request().tools] == ["f"]
    assert request.left_out == [f"tools:{kind}"]


READ = {
    *("message", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output"),
    *("computer_call", "computer_call_output", "local_shell_call", "local_shell_call_output", "shell_call"),
    *("shell_call_output", "apply_patch_call", "apply_patch_call_output", "mcp_call", "code_interpreter_call"),
    *("additional_tools", "tool_search_output", "file_search_call"),
}
THOUGHTS = {"reasoning"}
NOT_READ = {
    *("web_search_call", "tool_search_call", "compaction", "compaction_trigger", "image_generation_call"),
    *("mcp_list_tools", "mcp_approval_request", "mcp_approval_response", "item_reference", "program"),
    *("program_output", "configuration_update"),
}


def test_every_type_of_item_is_read_or_left_out() -> None:
    assert types_of(ResponseInputItemParam) - READ - THOUGHTS - NOT_READ == set()


@pytest.mark.parametrize("kind", sorted(NOT_READ))
def test_an_item_that_is_not_read_is_left_out_and_named(kind: str) -> None:
    request = ResponseRequest.model_validate(
        {"input": [{"role": "user", "content": "Hello"}, {"type": kind, "id": "i"}]}
    )
    assert len(request.to_request().messages) == 1
    assert request.left_out == [f"input:{kind}"]


ANTHROPICS_TOOLS = {
    *("bash_20241022", "bash_20250124", "code_execution_20250522", "code_execution_20250825"),
    *("code_execution_20260120", "code_execution_20260521", "browser_toolset_20260801", "computer_20241022"),
    *("memory_20250818", "computer_20250124", "text_editor_20241022", "computer_20251124"),
    *("computer_toolset_20260801", "text_editor_20250124", "text_editor_20250429", "text_editor_20250728"),
    *("web_search_20250305", "web_fetch_20250910", "web_search_20260209", "web_fetch_20260209"),
    *("web_fetch_20260309", "web_search_20260318", "web_fetch_20260318", "advisor_20260301", "mcp_toolset"),
    *("tool_search_tool_bm25_20251119", "tool_search_tool_bm25", "tool_search_tool_regex_20251119"),
    "tool_search_tool_regex",
}


def message(**given: Any) -> messages.MessageRequest:
    body = {"model": "glm", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}], **given}
    return messages.MessageRequest.model_validate(body)


def test_every_type_of_anthropics_tools_is_a_function_or_left_out() -> None:
    assert types_of(beta.BetaToolUnionParam) == {"custom", *ANTHROPICS_TOOLS}
    request = message(tools=[{"type": kind, "name": kind} for kind in sorted(ANTHROPICS_TOOLS)])
    assert list(request.to_request().tools) == []
    assert request.left_out == [f"tools:{kind}" for kind in sorted(ANTHROPICS_TOOLS)]


CONTENT = {
    "read": {"text", "tool_use", "server_tool_use", "mcp_tool_use", "search_result", "document", "compaction"},
    "results": {
        *("tool_result", "web_search_tool_result", "web_fetch_tool_result", "advisor_tool_result", "mcp_tool_result"),
        *("code_execution_tool_result", "bash_code_execution_tool_result", "tool_search_tool_result"),
        "text_editor_code_execution_tool_result",
    },
    "thoughts": {"thinking", "redacted_thinking"},
    "refused": {"image", "container_upload"},
    "left out": {"tool_addition", "tool_removal", "mcp_tool_listing", "fallback"},
}


def test_every_type_of_block_is_read_refused_or_left_out() -> None:
    assert types_of(beta.BetaContentBlockParam) - set().union(*CONTENT.values()) == set()


@pytest.mark.parametrize("kind", sorted(CONTENT["left out"]))
def test_a_block_for_the_service_is_left_out_and_named(kind: str) -> None:
    content = [{"type": "text", "text": "Hello"}, {"type": kind}]
    request = message(messages=[{"role": "user", "content": content}])
    assert request.to_request().messages[0]["content"] == [{"type": "text", "text": "Hello"}]
    assert request.left_out == [f"messages:{kind}"]


@pytest.mark.parametrize("kind", sorted(CONTENT["refused"]))
def test_a_block_of_the_users_that_is_no_text_is_refused(kind: str) -> None:
    with pytest.raises(GlmGgufError, match=f"part of type '{kind}'"):
        message(messages=[{"role": "user", "content": [{"type": kind}]}]).to_request()


WISHES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "citations": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "document",
                            "citations": {"enabled": True},
                            "source": {"type": "text", "media_type": "text/plain", "data": "a"},
                        }
                    ],
                }
            ]
        },
        ["messages:document.citations"],
    ),
    "examples": ({"tools": [{"name": "f", "input_schema": {}, "input_examples": [{}]}]}, ["tools.input_examples"]),
    "a budget of a task": (
        {"output_config": {"task_budget": {"type": "tokens", "total": 9}}},
        ["output_config.task_budget"],
    ),
}


@pytest.mark.parametrize(("given", "names"), WISHES.values(), ids=WISHES.keys())
def test_a_wish_that_is_not_met_is_named(given: dict[str, Any], names: list[str]) -> None:
    request = message(**given)
    request.to_request()
    assert request.left_out == names
