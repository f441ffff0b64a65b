"""Requests of OpenAI's Responses API, and their translation. The server stores nothing between them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from glm_gguf.answers.answer_options import AnswerOptions
from glm_gguf.errors import RequestError
from glm_gguf.llama.sampling_params import SAMPLING_BOUNDS, SamplingParams
from glm_gguf.server.answer_request import AnswerRequest
from glm_gguf.server.bodies.message_origin import TracedMessage, checked_messages
from glm_gguf.server.bodies.prompt_fields import goes_on
from glm_gguf.server.bodies.sampling_fields import Probability, Temperature
from glm_gguf.server.bodies.thinking_fields import effort_budget, unknown_effort
from glm_gguf.server.bodies.wire import Count, Length, Many, Whole, WireRequest, within
from glm_gguf.server.docs.openapi import with_example
from glm_gguf.server.problem import Problem, Refused
from glm_gguf.server.responses.history import item_messages, item_tools, left_out_items
from glm_gguf.server.responses.input_items import InputItem, InputMessage
from glm_gguf.server.responses.offered_tools import OfferedTools, offered_tools
from glm_gguf.server.responses.tools import ResponseTool, ResponseToolChoice, is_web_search

LOGPROBS: Final = "message.output_text.logprobs"
Included = Literal[
    "message.output_text.logprobs",
    "reasoning.encrypted_content",
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
]
"""OpenAI's words for parts of a response; all but the first are about tools and features of its service."""


class ResponseTextFormat(WireRequest):
    """The required form of the answer's text: text, json_object or json_schema; also regex, lark and choice."""

    type: str = "text"
    name: str | None = None
    description: str | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None
    pattern: str | None = None
    grammar: str | None = None
    choices: list[str] | None = None


class ResponseText(WireRequest):
    """Options of the answer's text."""

    format: ResponseTextFormat | None = None
    verbosity: str | None = None


class ResponseReasoning(WireRequest):
    """Options of the thought: `effort` limits it, "none" leaves it out; `summary` sends it as its own summary."""

    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None
    """The former name of `summary`."""
    context: str | None = None
    """The chat template decides which earlier thoughts a model reads; "all_turns" is ignored and named."""


class ResponseRequest(WireRequest):
    """A conversation to answer."""

    model_config = with_example(model="glm", input="Hello", max_output_tokens=64)

    model: str | None = None
    """Name of a model; any where the server has one."""
    input: str | Many[InputItem]
    """The conversation: a text, or items (messages, calls, their outputs, thoughts). An item_reference names an item of
    one of the last answers. The answer continues a last message of the assistant that has `partial` or `prefix` true.
    """
    instructions: str | None = None
    """A system message before the conversation."""
    tools: Many[ResponseTool] | None = None
    """Functions that the model may call. web_search is answered by a research, where the server has sources, and
    tool_choice names it or no function stands beside it; other tools of a service are ignored and named in a header."""
    tool_choice: Literal["auto", "required", "none"] | ResponseToolChoice | None = None
    """auto, required, none, a function by name, or some of them (allowed_tools)."""
    parallel_tool_calls: bool | None = None
    """false: at most one call per answer."""
    text: ResponseText | None = None
    """format: text, json_object, json_schema; regex {pattern}, choice {choices}, lark {grammar}, gbnf {grammar}."""
    reasoning: ResponseReasoning | None = None
    """effort limits the thought: none, minimal, low, medium, high; summary sends it as its own summary."""
    max_output_tokens: Length | None = None
    """Maximum number of tokens of an answer; -1 is no limit."""
    max_tool_calls: Count | None = None
    """At most so many searches and pages of a research (web_search); all other tools are the client's to run."""
    temperature: Temperature | None = None
    """0 always takes the most likely token."""
    top_p: Probability | None = None
    """Only the most likely tokens that together reach this probability."""
    top_logprobs: Annotated[Whole, within(SAMPLING_BOUNDS["logprobs"])] | None = None
    """Return the log probability of every token, and of this many most likely ones in its place."""
    include: list[Included] | None = None
    """`message.output_text.logprobs` returns log probabilities; OpenAI's other words have no effect."""
    truncation: Literal["auto", "disabled"] | None = None
    """auto drops the oldest turns of a conversation that is too long; disabled refuses it."""
    stream: bool | None = None
    """Answer as server-sent events."""
    metadata: dict[str, str] | None = None
    """The response repeats it."""
    user: str | None = None
    """The response repeats it."""
    background: bool | None = None
    """Only false: the server does not write responses in the background."""
    previous_response_id: str | None = None
    """Only null: the server stores nothing; `input` has the whole conversation."""
    conversation: Any = None
    """Only null, as `previous_response_id`."""
    prompt: Any = None
    """Only null: the server stores no prompts either."""
    store: bool | None = None
    """false: no later request can name the response's items by an item_reference; nothing else is stored anyway."""

    @property
    def wants_summary(self) -> bool:
        """The client requests thoughts as summaries."""
        reasoning = self.reasoning or ResponseReasoning()
        return reasoning.summary is not None or reasoning.generate_summary is not None

    @property
    def logprobs(self) -> int | None:
        """Number of alternatives with log probabilities; None without log probabilities."""
        if self.top_logprobs:
            return self.top_logprobs
        return 0 if LOGPROBS in (self.include or ()) else None

    @property
    def items(self) -> Sequence[InputItem]:
        """The conversation as items."""
        return [InputMessage(role="user", content=self.input)] if isinstance(self.input, str) else self.input

    @cached_property
    def offered(self) -> OfferedTools:
        """The tools that the model may call; RequestError for one without a name."""
        tools = offered_tools(self.tools or ()).joined(item_tools(self.items))
        choice = self.tool_choice
        allowed = isinstance(choice, ResponseToolChoice) and choice.type == "allowed_tools"
        return tools.allowed(choice) if allowed and isinstance(choice, ResponseToolChoice) else tools

    @property
    def searches(self) -> bool:
        """The server is asked to search, and no function of the client's could be called between."""
        declared = self.tools or ()
        if not any(is_web_search(tool.type) for tool in declared):
            return False
        match self.tool_choice:
            case ResponseToolChoice(type="allowed_tools", tools=allowed):
                left = [is_web_search(tool.type) for tool in allowed or ()]
            case ResponseToolChoice(type=kind):
                left = [is_web_search(kind)]
            case word:
                return word != "none" and not offered_tools(declared).tools
        return any(left) and (all(left) or not offered_tools(declared).tools)

    @property
    def left_out(self) -> list[str]:
        """Ignored tools and items, by their types."""
        verbosity = None if self.text is None else self.text.verbosity
        left_out = [kind for kind in self.offered.left_out if not (self.searches and is_web_search(kind))]
        tools = [f"tools:{kind}" for kind in left_out]
        items = [f"input:{kind}" for kind in left_out_items(self.items)]
        effort = ["reasoning.effort"] if self.reasoning and unknown_effort(self.reasoning.effort) else []
        if self.reasoning and self.reasoning.context not in (None, "", "auto", "current_turn"):
            effort.append("reasoning.context")
        return [*tools, *items, *effort, *(["text.verbosity"] if verbosity not in (None, "medium") else [])]

    def to_request(self) -> AnswerRequest:
        """Translate the request; RequestError names a field that is invalid or unsupported."""
        _require_stateless(self)
        sampling = SamplingParams(
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=self.max_output_tokens,
            logprobs=self.logprobs,
            thinking_budget=None if self.reasoning is None else effort_budget(self.reasoning.effort),
        )
        messages, options = _messages(self), _options(self)
        if goes_on(messages[-1]):
            options["continue_final_message"] = True
        return AnswerRequest(messages, self.offered.declarations(), sampling, options)


def _require_stateless(request: ResponseRequest) -> None:
    """Refuse what needs stored responses, conversations or prompts."""
    for name, code in (
        ("previous_response_id", "previous_response_not_found"),
        ("conversation", None),
        ("prompt", None),
    ):
        if getattr(request, name) is not None:
            what = f"{name}: the server stores nothing; give the whole conversation as `input`."
            raise Refused(Problem(400, what, param=name, code=code))
    if request.background:
        raise RequestError(
            "the server does not write responses in the background", field="background", fix="leave it out"
        )


def _messages(request: ResponseRequest) -> list[dict[str, Any]]:
    """Return the conversation as messages of chat completions."""
    messages = item_messages(request.items)
    if request.instructions:
        messages.insert(0, TracedMessage({"role": "system", "content": request.instructions}, "instructions"))
    if not messages:
        raise RequestError("there is no message", field="input", fix="give a text, or at least one message")
    return checked_messages(messages, continues=goes_on(messages[-1].message))


def _options(request: ResponseRequest) -> AnswerOptions:
    options = AnswerOptions()
    if request.tool_choice is not None and not request.searches:
        options["tool_choice"] = request.offered.choice(request.tool_choice)
    if request.parallel_tool_calls is not None:
        options["parallel_tool_calls"] = request.parallel_tool_calls
    form = None if request.text is None else request.text.format
    if form is not None and form.type != "text":
        options["response_format"] = _format(form)
    if request.truncation == "auto":
        options["on_overflow"] = "drop_oldest_turns"
    return options


def _format(form: ResponseTextFormat) -> dict[str, Any]:
    """Return a format in the form of chat completions, with the schema one level deeper."""
    given = form.model_dump(by_alias=True, exclude_none=True)
    if form.type != "json_schema":
        return given
    if form.schema_ is None:
        raise RequestError("there is no schema", field="text.format.schema", fix="give the schema of the answer")
    return {"type": "json_schema", "json_schema": {key: value for key, value in given.items() if key != "type"}}
