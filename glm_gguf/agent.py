"""A conversation in which the model's calls are run: answers, results as observations, until no call is left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from glm_gguf.chat.events import ChatResult, ToolCall
from glm_gguf.chat.tools import Toolbox, error_text
from glm_gguf.errors import RequestError

Approval = Callable[[ToolCall], bool]
"""Asked before every call; a call that is refused is told to the model as an error."""

Answer = Callable[[Sequence[Mapping[str, Any]]], ChatResult]
"""Answers a conversation, with the tools declared."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How far a run may go."""

    max_turns: int = 8
    """Answers at most; where the last one still calls, its calls are not run."""
    timeout: float | None = 60.0
    """Seconds a call may take; a Python thread cannot be stopped, so what takes longer is left behind."""
    approve: Approval | None = None

    def __post_init__(self) -> None:
        if self.max_turns < 1:
            raise RequestError(f"{self.max_turns} turns", field="max_turns", fix="give at least 1")
        if self.timeout is not None and not self.timeout > 0:
            raise RequestError(f"{self.timeout} seconds", field="timeout", fix="give a positive number, or None")


@dataclass(frozen=True, slots=True)
class RunResult:
    """The whole conversation, and the last answer in it; `complete` where that answer calls nothing."""

    messages: tuple[dict[str, Any], ...]
    answer: ChatResult
    turns: int

    @property
    def content(self) -> str:
        """Text of the last answer."""
        return self.answer.content

    @property
    def complete(self) -> bool:
        """The model said its last word."""
        return not self.answer.tool_calls


def run(answer: Answer, messages: Sequence[Mapping[str, Any]], toolbox: Toolbox, options: RunOptions) -> RunResult:
    """Let a model answer and call until it is done or the turns are used up."""
    transcript = [dict(message) for message in messages]
    for turn in range(1, options.max_turns + 1):
        result = answer(transcript)
        transcript.append(result.message())
        if not result.tool_calls or turn == options.max_turns:
            break
        observations = run_calls(result.tool_calls, toolbox, options)
        transcript += [{"role": "tool", "content": text} for text in observations]
    return RunResult(tuple(transcript), result, turn)


def run_calls(calls: Sequence[ToolCall], toolbox: Toolbox, options: RunOptions) -> list[str]:
    """Run the calls of one answer side by side; the observations in their order, errors among them."""
    runs = [_started(call, toolbox, options) for call in calls]
    return [_observation(one, call, options.timeout) for one, call in zip(runs, calls, strict=True)]


def _started(call: ToolCall, toolbox: Toolbox, options: RunOptions) -> _Run | None:
    """Start a call on a thread of its own; None where it is not approved."""
    if options.approve is not None and not options.approve(call):
        return None
    one = _Run(call, toolbox)
    one.thread.start()
    return one


class _Run:
    """One call under way, and its observation once it is there."""

    def __init__(self, call: ToolCall, toolbox: Toolbox) -> None:
        self.observation: str | None = None
        self.start = time.monotonic()
        self._call = call
        self._toolbox = toolbox
        self.thread = threading.Thread(target=self._work, name=f"tool {call.name}", daemon=True)

    def _work(self) -> None:
        """Run a user's function, which may raise anything: the model is told, and goes on."""
        try:
            self.observation = self._toolbox.answer(self._call)
        except Exception as error:
            self.observation = error_text(f"{type(error).__name__}: {error}")


def _observation(one: _Run | None, call: ToolCall, timeout: float | None) -> str:
    if one is None:
        return error_text(f"the call of {call.name} was not approved")
    one.thread.join(None if timeout is None else max(one.start + timeout - time.monotonic(), 0))
    if one.observation is not None:
        return one.observation
    if one.thread.is_alive():
        return error_text(f"{call.name} took longer than {timeout} seconds")
    return error_text(f"{call.name} ended without a result")  # by SystemExit, say
