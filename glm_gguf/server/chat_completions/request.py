"""A chat completion request: OpenAI's schema, and its translation."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from glm_gguf.answers.answer_options import AnswerOptions
from glm_gguf.errors import RequestError
from glm_gguf.server.answer_request import AnswerRequest
from glm_gguf.server.bodies.form_fields import FormFields
from glm_gguf.server.bodies.misplaced_fields import require_spelled_messages
from glm_gguf.server.bodies.prompt_fields import PromptFields, goes_on
from glm_gguf.server.bodies.sampling_fields import LogprobCount, SamplingFields
from glm_gguf.server.bodies.thinking_fields import ThinkingFields
from glm_gguf.server.bodies.wire import Length, Many, StreamOptions, WireRequest
from glm_gguf.server.chat_completions.legacy import modern_choice, modern_messages, modern_tools
from glm_gguf.server.chat_completions.service_tools import functions_of
from glm_gguf.server.docs.openapi import with_example
from glm_gguf.server.problem import Problem, Refused
from glm_gguf.server.research.search_size import SOURCES, SearchSize


class AllowedFunction(WireRequest):
    """A function by its name."""

    name: str


class AllowedTool(WireRequest):
    """One of the allowed functions."""

    function: AllowedFunction


class AllowedTools(WireRequest):
    """Some functions; the model may or must call one of them."""

    mode: Literal["auto", "required"] = "auto"
    tools: list[AllowedTool]


class ChatToolChoice(WireRequest):
    """One function by name, or some: {"type": "allowed_tools", "allowed_tools": {"mode", "tools"}}."""

    type: Literal["function", "tool", "allowed_tools", "auto", "any", "required", "none"] = "function"
    function: AllowedFunction | None = None
    name: str | None = None
    """Name of the function, in the form of Responses."""
    allowed_tools: AllowedTools | None = None


class WebSearchOptions(WireRequest):
    """How much is searched: search_context_size; user_location has no effect."""

    search_context_size: SearchSize | None = None
    user_location: dict[str, Any] | None = None

    @property
    def most(self) -> int:
        """The documents that the text is written from, at most."""
        return SOURCES[self.search_context_size or "medium"]


class ChatCompletionRequest(SamplingFields, FormFields, ThinkingFields, PromptFields):
    """OpenAI's fields with an effect here, our own, and other servers' names for both."""

    model_config = with_example(model="glm", messages=[{"role": "user", "content": "Hello"}], max_tokens=64)

    messages: Annotated[Many[dict[str, Any]], Field(min_length=1)]
    """The conversation. The answer continues a last message of the assistant that has `prefix` or `partial` true."""
    model: str | None = None
    """Name of a model; any where the server has one."""
    tools: Many[dict[str, Any]] | None = None
    """Functions that the model may call; tools of a service are ignored and named in a header."""
    tool_choice: str | ChatToolChoice | None = None
    """auto, required (or any), none, a function by name, or some of them (allowed_tools)."""
    parallel_tool_calls: bool | None = None
    """false: at most one call per answer."""
    functions: Many[dict[str, Any]] | None = None
    """The legacy form of `tools`."""
    function_call: str | dict[str, Any] | None = None
    """The legacy form of `tool_choice`."""
    max_completion_tokens: Length | None = None
    """OpenAI's current name for `max_tokens`, which it overrides."""
    logprobs: bool | None = None
    """Return the log probability of every visible token."""
    top_logprobs: LogprobCount | None = None
    """And of this many most likely tokens in its place."""
    stream: bool | None = None
    """Answer as server-sent events."""
    stream_options: StreamOptions | None = None
    """include_usage: the last chunk has the token counts."""
    web_search_options: WebSearchOptions | None = None
    """Write from one search in the server's sources, with citations. search_context_size: low, medium or high, that is
    3, 10 or 20 documents; user_location has no effect."""
    return_progress: bool | None = None
    """A stream tells in `prompt_progress` how far a long prompt is computed (llama.cpp)."""

    @property
    def legacy(self) -> bool:
        """The client uses the legacy form of calls."""
        return bool(self.functions) and not self.tools

    @property
    def includes_usage(self) -> bool:
        """A stream ends with the token counts."""
        return self.stream_options is not None and self.stream_options.include_usage is True

    def to_request(self) -> AnswerRequest:
        """Translate the request; RequestError names an invalid field."""
        require_spelled_messages(self.messages)
        if self.top_logprobs and not self.logprobs:
            raise Refused(Problem(400, "top_logprobs: it needs `logprobs`: true.", param="top_logprobs"))
        most = self.most_tokens() if self.max_completion_tokens is None else self.max_completion_tokens
        sampling = self.sampling(
            max_tokens=most,
            logprobs=self.top_logprobs or 0 if self.logprobs else None,
            thinking_budget=self.budget(),
        )
        return AnswerRequest(modern_messages(self.messages), self._tools(), sampling, self._options(), self.n or 1)

    def _tools(self) -> Sequence[Mapping[str, Any]]:
        """Return the declarations, only the allowed ones if some are excluded."""
        if self.legacy:
            return modern_tools(self.functions)
        allowed = self.tool_choice.allowed_tools if isinstance(self.tool_choice, ChatToolChoice) else None
        declared = functions_of(self.tools)
        return declared if allowed is None else _allowed_tools(declared, [tool.function.name for tool in allowed.tools])

    def _choice(self) -> str | Mapping[str, Any] | None:
        if self.legacy:
            return modern_choice(self.function_call)
        if not isinstance(self.tool_choice, ChatToolChoice):
            return self.tool_choice
        allowed = self.tool_choice.allowed_tools
        return self.tool_choice.model_dump(exclude_unset=True) if allowed is None else allowed.mode

    def _options(self) -> AnswerOptions:
        form = self.requested_form()
        given: dict[str, Any] = {
            "tool_choice": self._choice(),
            "response_format": None if form is None else form.form,
            "continue_final_message": self.continues or goes_on(self.messages[-1]) or None,
            "parallel_tool_calls": False if self.legacy else self.parallel_tool_calls,
            "variables": self.chat_template_kwargs,
            "timeout": self.timeout,
            "lora": self.lora,
        }
        chosen: Any = {name: value for name, value in given.items() if value is not None}
        options: AnswerOptions = chosen
        return options


def _allowed_tools(declared: Sequence[Mapping[str, Any]], names: Collection[str | None]) -> list[Mapping[str, Any]]:
    """Return the declarations of the named functions; RequestError for an undeclared one."""
    known = {_function_name(tool) for tool in declared}
    for name in names:
        if name is None or name not in known:
            raise RequestError(
                f"no function {name!r} is declared", field="tool_choice.tools", fix="name some of `tools`"
            )
    return [tool for tool in declared if _function_name(tool) in names]


def _function_name(tool: Mapping[str, Any]) -> str | None:
    """Return the name of a declared function; None where it is no text, which is refused later."""
    function = tool.get("function")
    name = function.get("name") if isinstance(function, Mapping) else None
    return name if isinstance(name, str) else None
