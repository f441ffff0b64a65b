"""What can be said of an answer as keywords: how tokens are drawn, and what else is asked. None is as if not given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from glm_gguf.answers.overflow import OnOverflow
from glm_gguf.chat.response_format import ResponseFormat
from glm_gguf.chat.tool_choice import ToolChoice
from glm_gguf.engine.constraint import Constraint
from glm_gguf.llama.sampling_params import Dry


class PromptOptions(TypedDict, total=False):
    """What a prompt depends on besides messages and tools."""

    variables: Mapping[str, Any] | None
    """What a template reads beside the messages."""
    continue_final_message: bool | None
    """The last message, an assistant's, is the beginning of the answer, which goes on behind it."""


class TextOptions(TypedDict, total=False):
    """What can be said of any text that is written."""

    timeout: float | None
    """Seconds after which the answer ends with the reason `timeout`, however far it is."""
    constraint: Constraint | None
    """Rules for the next token in place of those that tools and format make; good for one answer."""
    lora: Mapping[str, float] | None
    """Name of a LoRA adapter loaded with the model → its scale; adapters that are not named are off."""
    response_format: ResponseFormat | Mapping[str, Any] | type[Any] | None
    """The form of the text, as in OpenAI's API; also a regex, a choice or a grammar (Lark, GBNF)."""


class AnswerOptions(PromptOptions, TextOptions, total=False):
    """What can be said of an answer besides messages, tools and sampling."""

    on_overflow: OnOverflow | None
    """`drop_oldest_turns` shortens a conversation that is too long; system messages and tools stay."""
    tool_choice: ToolChoice | str | Mapping[str, Any] | None
    """Whether functions may be called, as in OpenAI's API: "auto", "required", "none" or one by name."""
    parallel_tool_calls: bool | None
    """Several calls in one answer; allowed by default."""


class SamplingOptions(TypedDict, total=False):
    """The fields of SamplingParams that any text is drawn by, as keywords; they win over `sampling`."""

    temperature: float | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    seed: int | None
    max_tokens: int | None
    repeat_penalty: float | None
    frequency_penalty: float | None
    presence_penalty: float | None
    penalty_last_n: int | None
    dry: Dry | Mapping[str, Any] | None
    logit_bias: Mapping[int, float] | None
    stop: str | Sequence[str] | None
    logprobs: int | None
    ignore_eos: bool | None


class CompletionOptions(TextOptions, SamplingOptions, total=False):
    """What `complete` and its kin take as keywords."""


class ChatOptions(AnswerOptions, SamplingOptions, total=False):
    """What `chat` and its kin take as keywords."""

    thinking_budget: int | None
