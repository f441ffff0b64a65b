"""The text of an answer that the prompt begins: an opening newline, or the message of `continue_final_message`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from glm_gguf.chat.content_parts import content_text
from glm_gguf.errors import RequestError
from glm_gguf.special_tokens import CLOSE_THOUGHT, OPEN_THOUGHT


@dataclass(frozen=True, slots=True)
class BegunAnswer:
    """The text behind the rendered conversation, and how the parser counts it."""

    prompt_text: str
    text: str | None
    """Begun text of the answer, or of its thought; None if nothing is begun."""
    in_thought: bool = False
    """The begun text belongs to the thought."""


@dataclass(frozen=True, slots=True)
class ContinuedMessage:
    """An assistant message that the answer continues."""

    content: str = ""
    thought: str = ""

    def behind(self, *, thinks: bool) -> BegunAnswer:
        """Write it behind a prompt; `thinks`: the prompt has opened a thought."""
        if not thinks:
            return BegunAnswer(f"\n{self.content}", self.content)
        if self.thought and not self.content:
            return BegunAnswer(f"\n{self.thought}", self.thought, in_thought=True)
        thought = f"\n{self.thought}" if self.thought else ""
        return BegunAnswer(f"{thought}\n{CLOSE_THOUGHT}\n{self.content}", self.content)


def continued_message(messages: Sequence[Mapping[str, Any]]) -> ContinuedMessage:
    """Read the last message as the beginning of the answer; RequestError if it cannot be continued."""
    field = f"messages[{len(messages) - 1}]"
    last = messages[-1] if messages else {}
    if last.get("role") != "assistant":
        _refuse(field, "only a message of the assistant can be continued", "end with one, or leave the flag out")
    if last.get("tool_calls") or last.get("metadata") or last.get("function_call"):
        _refuse(field, "a call cannot be continued", "end with text of the assistant, or with the call's result")
    content = content_text(last.get("content"), f"{field}.content", "assistant")
    thought = last.get("reasoning_content") or last.get("reasoning") or ""
    if not isinstance(thought, str):
        _refuse(f"{field}.reasoning_content", "a thought is text", "give a string")
    if not thought and content.lstrip().startswith(OPEN_THOUGHT):
        thought, closed, content = content.lstrip().removeprefix(OPEN_THOUGHT).partition(CLOSE_THOUGHT)
        content = content.lstrip("\n")
        thought = thought.strip() if closed else thought.lstrip("\n")
    return ContinuedMessage(content, thought)


def _refuse(field: str, what: str, fix: str) -> NoReturn:
    raise RequestError(what, field=field, fix=fix)
