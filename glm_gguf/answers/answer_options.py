"""The keywords of calls that write an answer: sampling, and everything else. None means not given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from glm_gguf.answers.overflow import OnOverflow
from glm_gguf.chat.response_format import ResponseFormat
from glm_gguf.chat.tool_choice import ToolChoice
from glm_gguf.engine.constraint import Constraint
from glm_gguf.llama.sampling_params import Dry


class PromptOptions(TypedDict, total=False):
    """Keywords of the prompt, besides messages and tools."""

    variables: Mapping[str, Any] | None
    """Variables for the chat template; GLM.template_variables lists those that it reads."""
    continue_final_message: bool | None
    """The last message is the assistant's, and the answer continues it."""


class TextOptions(TypedDict, total=False):
    """Keywords of any generated text."""

    timeout: float | None
    """Seconds after which the answer ends with the reason `timeout`."""
    constraint: Constraint | None
    """A Constraint in place of the grammar of tools and format. It serves one answer."""
    progress: bool | None
    """Yield PrefillProgress events while a long prompt is computed."""
    lora: Mapping[str, float] | None
    """Name of a loaded LoRA adapter → its scale. Adapters without a name here are off."""
    response_format: ResponseFormat | Mapping[str, Any] | type[Any] | None
    """The format of the text, as in OpenAI's API; also a regex, a choice or a grammar (Lark, GBNF)."""


class AnswerOptions(PromptOptions, TextOptions, total=False):
    """Keywords of an answer, besides messages, tools and sampling."""

    on_overflow: OnOverflow | None
    """`drop_oldest_turns` shortens a conversation that is too long. System messages and tools stay."""
    tool_choice: ToolChoice | str | Mapping[str, Any] | None
    """Whether the model may call functions, as in OpenAI's API: "auto", "required", "none" or a name."""
    parallel_tool_calls: bool | None
    """Allow several calls in one answer, as by default."""


class SamplingOptions(TypedDict, total=False):
    """The fields of SamplingParams as keywords; they win over `sampling`."""

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
    """Keywords of `complete`, `acomplete`, `stream_completion` and `continuation`."""


class ChatOptions(AnswerOptions, SamplingOptions, total=False):
    """Keywords of `chat`, `stream`, `run`, `choices`, `prepare` and their async forms."""

    thinking_budget: int | None
