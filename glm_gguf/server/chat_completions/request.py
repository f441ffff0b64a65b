"""A request for a chat completion: OpenAI's schema, and what it asks of the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from glm_gguf.engine.answer_options import AnswerOptions
from glm_gguf.engine.sampling import MOST_ALTERNATIVES
from glm_gguf.server.asked import Asked
from glm_gguf.server.chat_completions.legacy import modern_choice, modern_messages, modern_tools
from glm_gguf.server.described import with_example
from glm_gguf.server.errors import Problem, Refused
from glm_gguf.server.sampling_fields import SamplingFields
from glm_gguf.server.wire import Count, StreamOptions


class ChatCompletionRequest(SamplingFields):
    """The fields of OpenAI's that mean something here, and some of ours: top_k, min_p, repeat_penalty and others."""

    model_config = with_example(model="glm", messages=[{"role": "user", "content": "Hello"}], max_tokens=64)

    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    model: str | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    functions: list[dict[str, Any]] | None = None
    function_call: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    max_completion_tokens: Count | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MOST_ALTERNATIVES)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    thinking_budget: Annotated[int, Field(ge=0)] | None = None
    """Most tokens of a thought (GLM-Z1)."""
    chat_template_kwargs: dict[str, Any] | None = None
    """Variables of the chat template."""

    @property
    def legacy(self) -> bool:
        """Calls are asked for in the form from before `tools`."""
        return bool(self.functions) and not self.tools

    @property
    def includes_usage(self) -> bool:
        """A stream ends with the counts."""
        return self.stream_options is not None and self.stream_options.include_usage is True

    def asked(self) -> Asked:
        """Say it in the model's own values; RequestError names what makes no sense."""
        if self.top_logprobs and not self.logprobs:
            raise Refused(Problem(400, "top_logprobs: `logprobs` must be true for it.", param="top_logprobs"))
        most = self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens
        sampling = self.sampling(
            max_tokens=most,
            logprobs=self.top_logprobs or 0 if self.logprobs else None,
            thinking_budget=self.thinking_budget,
        )
        tools = modern_tools(self.functions) if self.legacy else self.tools or []
        return Asked(modern_messages(self.messages), tools, sampling, self._options(), self.n or 1)

    def _options(self) -> AnswerOptions:
        given: dict[str, Any] = {
            "tool_choice": modern_choice(self.function_call) if self.legacy else self.tool_choice,
            "response_format": self._format(),
            "parallel_tool_calls": False if self.legacy else self.parallel_tool_calls,
            "variables": self.chat_template_kwargs,
            "timeout": self.timeout,
            "lora": self.lora,
        }
        chosen: Any = {name: value for name, value in given.items() if value is not None}
        options: AnswerOptions = chosen
        return options

    def _format(self) -> Mapping[str, Any] | None:
        """Return the format, None for free text: nothing has to be compiled for that."""
        return None if self.response_format == {"type": "text"} else self.response_format
