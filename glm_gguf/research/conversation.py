"""A question and the messages before it, for a research and for a text from sources alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from glm_gguf.errors import RequestError


def require_question(question: object) -> None:
    """Raise RequestError for an empty question."""
    if not isinstance(question, str) or not question.strip():
        raise RequestError("the question is empty", field="question", fix="ask something")


def split_history(history: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the texts of system messages, and the messages of user and assistant."""
    told = [str(message["content"]) for message in history if message["role"] == "system"]
    return told, [dict(message) for message in history if message["role"] != "system"]
