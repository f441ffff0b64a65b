"""A dialogue in which the model may call functions: ask, run its calls, hand the results back, until it answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from glm_gguf.chat.events import ChatResult, Event, ToolCall
from glm_gguf.chat.tools import Toolbox, error_text
from glm_gguf.engine.sampling import SamplingParams
from glm_gguf.errors import RequestError

if TYPE_CHECKING:
    from glm_gguf.model import GLM

MOST_ROUNDS = 16
"""Answers with calls in one turn, before the model is taken to turn in circles."""


class Narrator(Protocol):
    """Whoever shows the dialogue."""

    def answer(self, events: Iterable[Event]) -> ChatResult:
        """Show an answer as it is written, and return it whole."""

    def observation(self, call: ToolCall, text: str) -> None:
        """Show the result of a call."""


class Dialogue:
    """The history of one conversation with a model."""

    def __init__(self, glm: GLM, toolbox: Toolbox, sampling: SamplingParams, system: str | None = None) -> None:
        self._glm = glm
        self._toolbox = toolbox
        self._sampling = sampling
        self._system = [{"role": "system", "content": system}] if system else []
        self.messages: list[dict[str, Any]] = list(self._system)

    def reset(self) -> None:
        """Forget everything but the system message."""
        self.messages = list(self._system)

    def ask(self, question: str, narrator: Narrator) -> ChatResult:
        """Take one turn; where it is interrupted or fails, the history is as before."""
        before = len(self.messages)
        self.messages.append({"role": "user", "content": question})
        complete = False
        try:
            result = self._answer(narrator)
            complete = True
            return result
        finally:
            if not complete:
                del self.messages[before:]

    def _answer(self, narrator: Narrator) -> ChatResult:
        for _ in range(MOST_ROUNDS):
            events = self._glm.stream(self.messages, self._toolbox.declarations, self._sampling)
            result = narrator.answer(events)
            self.messages.append(result.message())
            if not result.tool_calls:
                return result
            for call in result.tool_calls:
                observation = self._run(call)
                narrator.observation(call, observation)
                self.messages.append({"role": "tool", "content": observation})
        raise RequestError(f"the model still calls functions after {MOST_ROUNDS} rounds", fix="ask in another way")

    def _run(self, call: ToolCall) -> str:
        """Run a user's function, which may raise anything: the model is told, and goes on."""
        try:
            return self._toolbox.answer(call)
        except Exception as error:
            return error_text(f"{type(error).__name__}: {error}")
