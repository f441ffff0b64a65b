"""A conversation in which the model may call functions: ask, run its calls, return the results, until it answers."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from glm_gguf.answers.overflow import OnOverflow
from glm_gguf.chat.events import ChatResult, Event, ToolCall, collect
from glm_gguf.chat.tools import Toolbox
from glm_gguf.errors import RequestError
from glm_gguf.llama.sampling_params import SamplingParams
from glm_gguf.run_options import RunOptions
from glm_gguf.tool_calls import run_calls

if TYPE_CHECKING:
    from glm_gguf.model import GLM

RUN_DEFAULTS = RunOptions(max_turns=16)
"""A turn with more answers that call functions than this is taken for an endless loop."""


class Display(Protocol):
    """Shows the answers and results of a conversation."""

    def answer(self, events: Iterable[Event]) -> ChatResult:
        """Show an answer while it is generated, and return it whole."""

    def observation(self, call: ToolCall, text: str) -> None:
        """Show the result of a call."""


@dataclass(slots=True)
class AnswerSettings:
    """How the model answers; a command may change it between two turns."""

    sampling: SamplingParams
    drops_oldest_turns: bool = False
    """Drop the oldest turns where the conversation is longer than the context."""


class Conversation:
    """The messages of one conversation with a model."""

    def __init__(
        self,
        glm: GLM,
        toolbox: Toolbox,
        sampling: SamplingParams,
        system: str | None = None,
        options: RunOptions = RUN_DEFAULTS,
    ) -> None:
        self.glm = glm
        self.toolbox = toolbox
        self.settings = AnswerSettings(sampling)
        self._options = options
        self.system = _system(system)
        """The system message, if there is one."""
        self.messages: list[dict[str, Any]] = list(self.system)

    def reset(self) -> None:
        """Remove all messages but the system message."""
        self.messages = list(self.system)

    def set_system(self, system: str | None) -> None:
        """Start over with another system message, or without one."""
        self.system = _system(system)
        self.reset()

    @property
    def last_question(self) -> str | None:
        """The text of the user's last message; None where there is none."""
        start = self._last_turn()
        return None if start is None else _text(self.messages[start]["content"])

    def undo(self) -> int:
        """Remove the last turn: the user's last message and all after it. Returns the number of messages."""
        start = self._last_turn()
        if start is None:
            return 0
        count = len(self.messages) - start
        del self.messages[start:]
        return count

    def ask(self, question: str, display: Display) -> ChatResult:
        """Take one turn. A failure removes its messages; an interruption keeps what was written."""
        return self._turn(list(self.messages), question, display)

    def ask_again(self, question: str, display: Display) -> ChatResult:
        """Take the last turn again. The old one stays where that fails or nothing is written."""
        before = list(self.messages)
        self.undo()
        return self._turn(before, question, display)

    def _turn(self, before: list[dict[str, Any]], question: str, display: Display) -> ChatResult:
        start = len(self.messages)
        self.messages.append({"role": "user", "content": question})
        complete = False
        try:
            result = self._answer(display)
            complete = True
            return result
        except KeyboardInterrupt:
            complete = self._end_interrupted_turn(start)
            raise
        finally:
            if not complete:
                self.messages = before

    def _answer(self, display: Display) -> ChatResult:
        for _ in range(self._options.max_turns):
            result = self._stream_answer(display)
            self.messages.append(result.message())
            if not result.tool_calls:
                return result
            observations = run_calls(result.tool_calls, self.toolbox, self._options)
            answered = list(zip(result.tool_calls, observations, strict=True))
            self.messages += [call.result(observation) for call, observation in answered]
            for call, observation in answered:
                display.observation(call, observation)
        raise RequestError(
            f"the model still calls functions after {self._options.max_turns} rounds", fix="ask in another way"
        )

    def _stream_answer(self, display: Display) -> ChatResult:
        """Show an answer. After an interruption, what was written of it becomes a message."""
        on_overflow: OnOverflow = "drop_oldest_turns" if self.settings.drops_oldest_turns else "error"
        received: list[Event] = []
        with self.glm.stream(
            self.messages,
            self.toolbox.declarations,
            self.settings.sampling,
            on_overflow=on_overflow,
            progress=sys.stderr.isatty(),
        ) as events:
            try:
                return display.answer(_recorded(events, received))
            except KeyboardInterrupt:
                written = collect(received).content
                if written.strip():
                    self.messages.append({"role": "assistant", "content": written})
                raise

    def _end_interrupted_turn(self, start: int) -> bool:
        """End an interrupted turn that began at message `start`; False where nothing was written in it.

        Calls without results are removed.
        """
        last = self.messages[-1]
        if "tool_calls" in last:
            del last["tool_calls"]
            if not last["content"].strip():
                self.messages.pop()
        return len(self.messages) > start + 1

    def _last_turn(self) -> int | None:
        """Return the index of the user's last message."""
        turns = [index for index, message in enumerate(self.messages) if message["role"] == "user"]
        return turns[-1] if turns else None


def _system(text: str | None) -> list[dict[str, Any]]:
    return [{"role": "system", "content": text}] if text else []


def _text(content: Any) -> str:
    """Return the text of a message's content, which may be a list of parts."""
    if isinstance(content, list):
        return "".join(part.get("text") or "" if isinstance(part, dict) else str(part) for part in content)
    return str(content)


def _recorded(events: Iterable[Event], received: list[Event]) -> Iterator[Event]:
    for event in events:
        received.append(event)
        yield event
