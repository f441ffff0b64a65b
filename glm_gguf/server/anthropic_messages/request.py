"""Requests of Anthropic's Messages API, and their translation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field

from glm_gguf.answers.answer_options import AnswerOptions
from glm_gguf.chat.tools import misspelled_keys
from glm_gguf.errors import RequestError
from glm_gguf.llama.sampling_params import SamplingParams
from glm_gguf.server.answer_request import AnswerRequest
from glm_gguf.server.anthropic_messages.blocks import Block, TextBlock
from glm_gguf.server.anthropic_messages.events import Thoughts
from glm_gguf.server.anthropic_messages.history import block_messages, left_out_blocks
from glm_gguf.server.bodies.message_origin import TracedMessage, checked_messages
from glm_gguf.server.bodies.sampling_fields import Probability, Temperature
from glm_gguf.server.bodies.thinking_fields import effort_budget, unknown_effort
from glm_gguf.server.bodies.wire import Cut, Length, LengthOrNone, Many, WireRequest
from glm_gguf.server.docs.openapi import with_example
from glm_gguf.server.problem import Problem, Refused

TOLD: Final = ("name", "description", "input_schema", "strict")
"""Keys of a tool that the model is told, or a grammar heeds."""


class MessageTurn(WireRequest):
    """One message of the conversation."""

    role: Literal["user", "assistant", "system"]
    content: str | Many[Block] | None = None
    tool_calls: Any = None


class MessageTool(WireRequest):
    """A function that the model may call; a tool of another type is Anthropic's own, and left out."""

    model_config = ConfigDict(strict=True, extra="allow")

    type: str | None = None
    name: Annotated[str, Field(min_length=1)] | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    parameters: Any = None
    """OpenAI's name for the schema; refused, as is `inputSchema`."""
    inputSchema: Any = None
    input_examples: list[dict[str, Any]] | None = None
    strict: bool | None = None

    @property
    def is_function(self) -> bool:
        """The client runs the tool; one in OpenAI's form counts too, so that it is refused and not left out."""
        return self.type in (None, "custom", "function") or self.input_schema is not None


class MessageToolChoice(WireRequest):
    """Whether the model may, must or must not call functions."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class MessageThinking(WireRequest):
    """Visibility and maximum length of thoughts; GLM-Z1 always thinks, unless this is disabled."""

    type: Literal["enabled", "adaptive", "between_tools", "disabled"]
    budget_tokens: LengthOrNone | None = None
    display: Literal["summarized", "omitted", "updates"] | None = None


_NO_THREADS: Final = Problem(
    400,
    "thread: the server stores nothing; give the whole conversation as `messages`.",
    param="thread",
    code="thread_unsupported_request",  # Anthropic's client then continues without a thread
)


class MessageFormat(WireRequest):
    """The required form of the answer's text."""

    type: Literal["json_schema"]
    schema_: Annotated[dict[str, Any], Field(alias="schema")]


class MessageOutput(WireRequest):
    """Options of the output; `effort` limits the thought, unless `thinking` does."""

    format: MessageFormat | None = None
    effort: str | None = None
    task_budget: dict[str, Any] | None = None


class CountRequest(WireRequest):
    """A conversation to count the tokens of."""

    model_config = with_example(model="glm", messages=[{"role": "user", "content": "Hello"}])

    model: str
    """Name of a model; any where the server has one."""
    messages: Annotated[Many[MessageTurn], Field(min_length=1)]
    """The conversation; a last message of the assistant is the start of the answer."""
    system: str | Many[TextBlock] | None = None
    """A system message before the conversation: a text, or blocks of text."""
    tools: Many[MessageTool] | None = None
    """Functions that the model may call; Anthropic's own tools are ignored and named in a header."""
    tool_choice: MessageToolChoice | None = None
    """auto, any, none, or a tool by name; disable_parallel_tool_use allows one call an answer."""
    thinking: MessageThinking | None = None
    """enabled, adaptive or disabled; budget_tokens limits the thought, display omitted does not send it."""
    output_config: MessageOutput | None = None
    """format: a JSON schema for the text; effort limits the thought unless `thinking` does."""
    output_format: MessageFormat | None = None
    """The former name of output_config.format."""
    thread: Any = None
    """Only null: the server stores nothing; `messages` has the whole conversation."""

    @property
    def left_out(self) -> list[str]:
        """Ignored tools and blocks, by their types."""
        blocks = [kind for message in self.messages for kind in left_out_blocks(message.content)]
        config = self.output_config or MessageOutput()
        config_fields = ["output_config.task_budget"] if config.task_budget else []
        config_fields += ["output_config.effort"] if unknown_effort(config.effort) else []
        tools = [f"tools:{tool.type}" for tool in self.tools or () if not tool.is_function]
        tools += ["tools.input_examples" for tool in self.tools or () if tool.input_examples]
        return [*tools, *(f"messages:{kind}" for kind in blocks), *config_fields]

    def to_request(self) -> AnswerRequest:
        """Translate the request; RequestError names an invalid field."""
        if self.thread is not None:
            raise Refused(_NO_THREADS)
        messages, options = _messages(self), _options(self)
        if _begins_answer(messages[-1]):
            options["continue_final_message"] = True
        return AnswerRequest(messages, _tools(self.tools or ()), self._sampling(), options)

    def _sampling(self) -> SamplingParams:
        return SamplingParams()


class MessageRequest(CountRequest):
    """A conversation to answer."""

    model_config = with_example(model="glm", messages=[{"role": "user", "content": "Hello"}], max_tokens=64)

    max_tokens: Length
    """Maximum number of tokens of an answer; -1 is no limit."""
    stream: bool | None = None
    """Answer as server-sent events."""
    stop_sequences: list[Annotated[str, Field(min_length=1)]] | None = None
    """Texts; the answer ends before the first occurrence."""
    temperature: Temperature | None = None
    """0 always takes the most likely token."""
    top_p: Probability | None = None
    """Only the most likely tokens that together reach this probability."""
    top_k: Cut | None = None
    """Only the k most likely tokens; 0 and -1 are all."""

    @property
    def thoughts(self) -> Thoughts:
        """How thoughts are sent; without `thinking` they are hidden, since such clients expect no blocks of them."""
        if self.thinking is None or self.thinking.type == "disabled":
            return "hidden"
        return "omitted" if self.thinking.display == "omitted" else "shown"

    def _sampling(self) -> SamplingParams:
        return SamplingParams(
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            max_tokens=self.max_tokens,
            stop=tuple(self.stop_sequences or ()) or None,
            thinking_budget=_budget(self.thinking, self.output_config),
        )


def _budget(thinking: MessageThinking | None, config: MessageOutput | None) -> int | None:
    """Return the maximum tokens of a thought."""
    if thinking is not None and thinking.type == "disabled":
        return 0
    if thinking is not None and thinking.budget_tokens is not None:
        return thinking.budget_tokens
    return None if config is None else effort_budget(config.effort)


def _messages(request: CountRequest) -> list[dict[str, Any]]:
    """Return the conversation in OpenAI's form."""
    messages = (
        [TracedMessage({"role": "system", "content": _system(request.system)}, "system")] if request.system else []
    )
    for index, message in enumerate(request.messages):
        if message.tool_calls:
            what = "calls are blocks of type tool_use in `content`"
            raise RequestError(what, field=f"messages[{index}].tool_calls", fix="give them so")
        messages += block_messages(message.role, message.content, f"messages[{index}]")
    if messages and not messages[-1].message["content"] and _begins_answer(messages[-1].message):
        del messages[-1]
    if not messages:
        raise RequestError("there is no message", field="messages", fix="give one with a text")
    return checked_messages(messages)


def _begins_answer(message: Mapping[str, Any]) -> bool:
    """Return whether a last message is the start of the answer, as in Anthropic's API."""
    return message["role"] == "assistant" and not message.get("tool_calls")


def _system(system: str | list[TextBlock] | None) -> str | list[dict[str, str]]:
    if isinstance(system, list):
        return [{"type": "text", "text": block.text} for block in system]
    return system or ""


def _tools(tools: Sequence[MessageTool]) -> list[dict[str, Any]]:
    """Return the functions in OpenAI's form, without Anthropic's own tools."""
    declared = []
    for index, tool in enumerate(tools):
        if not tool.is_function:
            continue
        if tool.name is None or tool.type == "function" or tool.parameters or tool.inputSchema:
            what = "a function needs `name` and `input_schema` here"
            raise RequestError(what, field=f"tools[{index}]", fix="give them beside each other")
        for key, meant in misspelled_keys(tool.model_extra or {}, TOLD):
            raise RequestError(f"its name is `{meant}` here", field=f"tools[{index}].{key}", fix="rename it")
        function = tool.model_dump(include={"name", "description", "strict"}, exclude_none=True)
        if tool.input_schema is not None:
            function["parameters"] = tool.input_schema
        declared.append({"type": "function", "function": function})
    return declared


def _options(request: CountRequest) -> AnswerOptions:
    options = AnswerOptions()
    choice = request.tool_choice
    if choice is not None:
        options["tool_choice"] = _choice(choice)
        options["parallel_tool_calls"] = not choice.disable_parallel_tool_use
    form = request.output_format if request.output_config is None else request.output_config.format
    if form is not None:
        options["response_format"] = {"type": "json_schema", "json_schema": {"schema": form.schema_}}
    return options


def _choice(choice: MessageToolChoice) -> str | dict[str, Any]:
    if choice.type != "tool":
        return {"auto": "auto", "any": "required", "none": "none"}[choice.type]
    if not choice.name:
        raise RequestError("it names no function", field="tool_choice.name", fix="name one of `tools`")
    return {"type": "function", "function": {"name": choice.name}}
