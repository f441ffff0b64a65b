"""What can be said of an answer besides messages, tools and sampling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from glm_gguf.chat.response_format import ResponseFormat
from glm_gguf.chat.tool_choice import ToolChoice
from glm_gguf.engine.constraint_protocol import Constraint
from glm_gguf.engine.overflow import OnOverflow


class AnswerOptions(TypedDict, total=False):
    """What else can be said of an answer, as keywords."""

    variables: Mapping[str, Any]
    """What a template reads beside the messages."""
    timeout: float
    """Seconds after which the answer ends with the reason `timeout`, however far it is."""
    on_overflow: OnOverflow
    """`drop_oldest_turns` shortens a conversation that is too long; system messages and tools stay."""
    constraint: Constraint
    """Rules for the next token in place of those that tools and format make; good for one answer."""
    tool_choice: ToolChoice | str | Mapping[str, Any]
    """Whether functions may be called, as in OpenAI's API: "auto", "required", "none" or one by name."""
    response_format: ResponseFormat | Mapping[str, Any]
    """The form of the answer's text, as in OpenAI's API; also a regex, a Lark grammar or a choice."""
    lora: Mapping[str, float]
    """Name of a LoRA adapter loaded with the model → its scale; adapters that are not named are off."""
    parallel_tool_calls: bool
    """Several calls in one answer; allowed by default."""
