"""A dialogue in which the model may call functions: ask, run its calls, hand the results back, until it answers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from glm_gguf.chat.events import ChatResult, Event, ToolCall
from glm_gguf.chat.messages import template_messages
from glm_gguf.chat.tools import Toolbox
from glm_gguf.engine.sampling import SamplingParams
from glm_gguf.errors import RequestError
from glm_gguf.tool_calls import RunOptions, run_calls
from glm_gguf.whole_file import write_whole

if TYPE_CHECKING:
    from glm_gguf.model import GLM

RUN_DEFAULTS = RunOptions(max_turns=16)
"""After so many answers with calls in one turn the model is taken to turn in circles."""


class Narrator(Protocol):
    """Whoever shows the dialogue."""

    def answer(self, events: Iterable[Event]) -> ChatResult:
        """Show an answer as it is written, and return it whole."""

    def observation(self, call: ToolCall, text: str) -> None:
        """Show the result of a call."""


class Dialogue:
    """The history of one conversation with a model."""

    def __init__(
        self,
        glm: GLM,
        toolbox: Toolbox,
        sampling: SamplingParams,
        system: str | None = None,
        options: RunOptions = RUN_DEFAULTS,
    ) -> None:
        self._glm = glm
        self._toolbox = toolbox
        self._sampling = sampling
        self._options = options
        self._system = [{"role": "system", "content": system}] if system else []
        self.messages: list[dict[str, Any]] = list(self._system)

    def reset(self) -> None:
        """Forget everything but the system message."""
        self.messages = list(self._system)

    def instruct(self, system: str | None) -> None:
        """Begin anew with a system message."""
        self._system = [{"role": "system", "content": system}] if system else []
        self.reset()

    def undo(self) -> None:
        """Forget the last turn: the user's last message and all behind it."""
        turns = [index for index, message in enumerate(self.messages) if message["role"] == "user"]
        if turns:
            del self.messages[turns[-1] :]

    def save(self, path: Path) -> None:
        """Write the conversation as JSON, in OpenAI's form; OutputError where that cannot be done."""
        write_whole(path, [json.dumps(self.messages, ensure_ascii=False, indent=2).encode(), b"\n"])

    def save_session(self, path: Path) -> None:
        """Write the computed beginning of every conversation to a file: system message and tools."""
        self._glm.save_session(path, self._system, self._toolbox.declarations)

    def load(self, path: Path) -> None:
        """Go on with a conversation that was saved; RequestError for a file that holds none."""
        try:
            messages = json.loads(path.read_text("utf-8"))
        except OSError as error:
            raise RequestError(f"cannot be read: {error.strerror}", where=path) from error
        except ValueError as error:
            raise RequestError("the file holds no JSON", where=path) from error
        if not isinstance(messages, list):
            raise RequestError("the file holds no list of messages", where=path)
        template_messages(messages)  # names what is wrong
        self.messages = messages

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
        for _ in range(self._options.max_turns):
            events = self._glm.stream(self.messages, self._toolbox.declarations, self._sampling)
            result = narrator.answer(events)
            self.messages.append(result.message())
            if not result.tool_calls:
                return result
            observations = run_calls(result.tool_calls, self._toolbox, self._options)
            for call, observation in zip(result.tool_calls, observations, strict=True):
                narrator.observation(call, observation)
                self.messages.append(call.result(observation))
        raise RequestError(
            f"the model still calls functions after {self._options.max_turns} rounds", fix="ask in another way"
        )
