"""Alternate answers and tool results until the model makes no more calls."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from glm_gguf.chat.events import ChatResult, Event, ToolCall, collect
from glm_gguf.chat.tools import Toolbox
from glm_gguf.run_options import RunOptions
from glm_gguf.tool_calls import CallRunner, arun_calls

History = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class RunResult:
    """The conversation with all answers and results, and its last answer."""

    messages: tuple[dict[str, Any], ...]
    answer: ChatResult
    turns: int

    @property
    def content(self) -> str:
        """The text of the last answer."""
        return self.answer.content

    @property
    def complete(self) -> bool:
        """The last answer has no calls; False if max_turns ended the run."""
        return not self.answer.tool_calls


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The result of one call, in the stream of a run: `content` is what the model reads."""

    call: ToolCall
    content: str


RunEvent = Event | ToolResult | RunResult
"""What `stream_run` yields: the events of each answer, the results of its calls, and a RunResult at the end."""


class _Transcript:
    """The conversation so far."""

    def __init__(self, messages: History, options: RunOptions) -> None:
        self.messages = [dict(message) for message in messages]
        self._most = options.max_turns
        self._turns = 0

    def goes_on(self, answer: ChatResult) -> bool:
        """Add an answer; True if its calls are to run and another answer follows."""
        self._answer = answer
        self._turns += 1
        self.messages.append(answer.message())
        return bool(answer.tool_calls) and self._turns < self._most

    def results(self, texts: Sequence[str]) -> list[ToolResult]:
        """Add the results of the last answer's calls."""
        results = [ToolResult(*pair) for pair in zip(self._answer.tool_calls, texts, strict=True)]
        self.messages += [one.call.result(one.content) for one in results]
        return results

    @property
    def result(self) -> RunResult:
        """The conversation so far, as a value."""
        return RunResult(tuple(self.messages), self._answer, self._turns)


def run(answer: Callable[[History], ChatResult], messages: History, toolbox: Toolbox, options: RunOptions) -> RunResult:
    """Let a model answer and call until it is done or has used all turns."""
    transcript = _Transcript(messages, options)
    with CallRunner(toolbox, options) as runner:
        while transcript.goes_on(result := answer(transcript.messages)):
            transcript.results(runner.run(result.tool_calls))
    return transcript.result


async def arun(
    answer: Callable[[History], Awaitable[ChatResult]], messages: History, toolbox: Toolbox, options: RunOptions
) -> RunResult:
    """Do what `run` does, in an event loop."""
    transcript = _Transcript(messages, options)
    while transcript.goes_on(result := await answer(transcript.messages)):
        transcript.results(await arun_calls(result.tool_calls, toolbox, options))
    return transcript.result


def stream_run(
    stream: Callable[[History], Generator[Event, None, None]], messages: History, toolbox: Toolbox, options: RunOptions
) -> Generator[RunEvent, None, None]:
    """Do what `run` does, event by event."""
    transcript = _Transcript(messages, options)
    with CallRunner(toolbox, options) as runner:
        while transcript.goes_on(result := (yield from _passed_on(stream(transcript.messages)))):
            yield from transcript.results(runner.run(result.tool_calls))
    yield transcript.result


async def astream_run(
    stream: Callable[[History], AsyncGenerator[Event, None]], messages: History, toolbox: Toolbox, options: RunOptions
) -> AsyncGenerator[RunEvent, None]:
    """Do what `stream_run` does, in an event loop."""
    transcript = _Transcript(messages, options)
    goes_on = True
    while goes_on:
        events_so_far: list[Event] = []
        async with aclosing(stream(transcript.messages)) as events:
            async for event in events:
                events_so_far.append(event)
                yield event
        result = collect(events_so_far)
        if goes_on := transcript.goes_on(result):
            for result_event in transcript.results(await arun_calls(result.tool_calls, toolbox, options)):
                yield result_event
    yield transcript.result


def _passed_on(events: Generator[Event, None, None]) -> Generator[Event, None, ChatResult]:
    """Yield the events of an answer, and return the whole answer."""
    events_so_far = []
    for event in events:
        events_so_far.append(event)
        yield event
    return collect(events_so_far)
