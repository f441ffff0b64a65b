"""Which control tokens end a part of an answer, and what follows behind each."""

from __future__ import annotations

from enum import Enum, auto

from glm_gguf.special_tokens import ASSISTANT, END_OF_TEXT, OBSERVATION, USER


class RoleMark(Enum):
    """A control token that ends a part of the answer."""

    ASSISTANT = auto()
    """Another part follows: a call behind prose, a second call."""
    OBSERVATION = auto()
    """The model waits for the results of its calls."""
    END = auto()
    """The answer is complete."""


ROLE_MARKS = {
    ASSISTANT: RoleMark.ASSISTANT,
    OBSERVATION: RoleMark.OBSERVATION,
    USER: RoleMark.END,
    END_OF_TEXT: RoleMark.END,
}
"""The control tokens of an answer."""
