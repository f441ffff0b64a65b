"""A whole response of OpenAI's Responses API, and the fields that repeat its request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from glm_gguf.server.bodies.wire import CachedTokens, WireResponse
from glm_gguf.server.responses.request import ResponseRequest
from glm_gguf.server.responses.tools import CustomTool, DeclaredTool, FunctionTool, NamespaceTool, is_web_search

ResponseStatus = Literal["completed", "incomplete", "failed"]


class UrlCitation(WireResponse):
    """A place of a researched text that names a page."""

    type: Literal["url_citation"]
    start_index: int
    end_index: int
    """Characters of the text, as Python counts them; the end is exclusive."""
    url: str
    title: str


class OutputText(WireResponse):
    """The text of a message."""

    type: Literal["output_text"]
    text: str
    annotations: list[UrlCitation]
    logprobs: list[dict[str, Any]]


class OutputMessage(WireResponse):
    """A message of the assistant."""

    id: str
    type: Literal["message"]
    status: ResponseStatus
    role: Literal["assistant"]
    content: list[OutputText]


class OutputCall(WireResponse):
    """A call; an incomplete one was cut off, and its arguments are not JSON."""

    id: str
    type: Literal["function_call"]
    status: ResponseStatus
    call_id: str
    name: str
    namespace: str | None = None
    """Only for a function of a namespace."""
    arguments: str


class OutputCustomCall(WireResponse):
    """A call of a custom tool; the text of an incomplete one was cut off."""

    id: str
    type: Literal["custom_tool_call"]
    status: ResponseStatus
    call_id: str
    name: str
    namespace: str | None = None
    """Only for a tool of a namespace."""
    input: str


class SearchAction(WireResponse):
    """What was looked up: a search with the pages that it found, or a page that was opened."""

    type: Literal["search", "open_page"]
    query: str | None = None
    sources: list[dict[str, str]] | None = None
    url: str | None = None
    title: str | None = None
    """Of the page; not OpenAI's."""
    error: str | None = None
    """Why it failed; not OpenAI's either."""


class OutputSearch(WireResponse):
    """A look-up that the server has made."""

    id: str
    type: Literal["web_search_call"]
    status: Literal["in_progress", "completed", "failed"]
    action: SearchAction


class ThoughtText(WireResponse):
    """Text of a thought."""

    type: Literal["reasoning_text", "summary_text"]
    text: str


class ReasoningOutput(WireResponse):
    """A thought: in `summary` if the request wants one, else in `content`."""

    id: str
    type: Literal["reasoning"]
    status: ResponseStatus
    summary: list[ThoughtText]
    content: list[ThoughtText]
    encrypted_content: None


class InputTokens(CachedTokens):
    """Of the prompt."""

    cache_write_tokens: int


class ReasoningTokens(WireResponse):
    """Of the answer."""

    reasoning_tokens: int


class ResponseUsage(WireResponse):
    """Token counts."""

    input_tokens: int
    input_tokens_details: InputTokens
    output_tokens: int
    output_tokens_details: ReasoningTokens
    total_tokens: int


class IncompleteDetails(WireResponse):
    """Why a response is incomplete."""

    reason: Literal["max_output_tokens"]


class WholeResponse(WireResponse):
    """The response, and the fields that repeat its request."""

    id: str
    object: Literal["response"]
    created_at: int
    status: ResponseStatus
    model: str
    output: list[OutputMessage | OutputCall | OutputCustomCall | OutputSearch | ReasoningOutput]
    usage: ResponseUsage | None
    error: dict[str, Any] | None
    incomplete_details: IncompleteDetails | None
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: int | None
    metadata: dict[str, str]
    parallel_tool_calls: bool
    previous_response_id: None
    reasoning: dict[str, Any]
    store: Literal[False]
    temperature: float | None
    text: dict[str, Any]
    tool_choice: str | dict[str, Any]
    tools: list[dict[str, Any]]
    top_logprobs: int
    top_p: float | None
    truncation: str
    user: str | None
    background: Literal[False]


class InputTokenCount(WireResponse):
    """The token count of a conversation."""

    object: Literal["response.input_tokens"]
    input_tokens: int


def response_frame(request: ResponseRequest, response_id: str, model: str, created_at: int) -> dict[str, Any]:
    """Return the fields of a response that are known before its answer."""
    asked = request.model_dump(mode="json", by_alias=True, exclude_none=True)
    text = asked.get("text", {})
    return {
        "id": response_id,
        "object": "response",
        "created_at": created_at,
        "model": model,
        "error": None,
        "incomplete_details": None,
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "max_tool_calls": request.max_tool_calls,
        "metadata": request.metadata or {},
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None, **asked.get("reasoning", {})},
        "store": False,
        "temperature": request.temperature,
        "text": {"format": {"type": "text"}, **text},
        "tool_choice": asked.get("tool_choice", "auto"),
        "tools": _offered(request.tools or (), searched=request.searches),
        "top_logprobs": request.top_logprobs or 0,
        "top_p": request.top_p,
        "truncation": request.truncation or "disabled",
        "user": request.user,
        "background": False,
    }


def _offered(tools: Sequence[DeclaredTool], *, searched: bool) -> list[dict[str, Any]]:
    """Return the tools that the model may call, as the request has them."""
    offered = [
        tool
        for tool in tools
        if isinstance(tool, FunctionTool | CustomTool | NamespaceTool) or (searched and is_web_search(tool.type))
    ]
    return [tool.model_dump(mode="json", exclude_unset=True) for tool in offered]
