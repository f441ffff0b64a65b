"""ChatModel: all ways to get an answer, built on `prepare`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import ExitStack, aclosing, closing
from dataclasses import replace
from typing import Any, Protocol, Unpack

from glm_gguf.agent import History, RunEvent, RunResult, arun, astream_run, run, stream_run
from glm_gguf.answers.accepted_keywords import RUN_ARGUMENTS, SamplingLike, chat_options, options_value
from glm_gguf.answers.answer_options import ChatOptions
from glm_gguf.answers.prepared_answer import EventStream, PreparedAnswer
from glm_gguf.chat.events import ChatResult, Event, collect
from glm_gguf.chat.messages import Messages, conversation
from glm_gguf.chat.tools import Functions, Toolbox, Tools
from glm_gguf.errors import RequestError
from glm_gguf.run_options import RunOptions

Limits = RunOptions | Mapping[str, Any] | None


class ChatModel(Protocol):
    """A model that answers conversations: whole, event by event, several times, with tools, in an event loop.

    `messages` have OpenAI's or the template's form; a text is one message of the user. `tools` are Python functions or
    declarations. Keywords are those of ChatOptions: the fields of SamplingParams (temperature, max_tokens, …), which
    win over `sampling`, and tool_choice, response_format, timeout, …. None means not given; an unknown keyword raises
    TypeError. All methods raise GlmGgufError for arguments that they cannot use, and when the engine fails.
    """

    def prepare(
        self, messages: Messages, tools: Tools = (), sampling: SamplingLike = None, **options: Unpack[ChatOptions]
    ) -> PreparedAnswer:
        """Render a conversation and compile the grammar of its answer, without starting it."""

    def stream(
        self, messages: Messages, tools: Tools = (), sampling: SamplingLike = None, **options: Unpack[ChatOptions]
    ) -> EventStream:
        """Answer a conversation event by event; the last event is Finish.

        The model starts at once, and closing the iterator stops it.
        """
        return self.prepare(messages, tools, sampling, **options).stream(self)

    def astream(
        self, messages: Messages, tools: Tools = (), sampling: SamplingLike = None, **options: Unpack[ChatOptions]
    ) -> AsyncGenerator[Event, None]:
        """Answer a conversation as `stream` does, in an event loop; another thread renders and compiles."""
        chat_options(sampling, options)  # raises now, not at the first event
        return _events(lambda: self.prepare(messages, tools, sampling, **options))

    def chat(
        self, messages: Messages, tools: Tools = (), sampling: SamplingLike = None, **options: Unpack[ChatOptions]
    ) -> ChatResult:
        """Return the answer to a conversation: `glm.chat("Hello", temperature=0, max_tokens=64)`."""
        with self.stream(messages, tools, sampling, **options) as events:
            return collect(events)

    async def achat(
        self, messages: Messages, tools: Tools = (), sampling: SamplingLike = None, **options: Unpack[ChatOptions]
    ) -> ChatResult:
        """Return the answer to a conversation, in an event loop; cancelling it stops the model."""
        async with aclosing(self.astream(messages, tools, sampling, **options)) as events:
            return collect([event async for event in events])

    def choices(
        self,
        n: int,
        messages: Messages,
        tools: Tools = (),
        sampling: SamplingLike = None,
        **options: Unpack[ChatOptions],
    ) -> list[ChatResult]:
        """Return n answers to a conversation, written at once. Each next one has a seed higher by 1."""
        prepared = _several(n, self.prepare(messages, tools, sampling, **options), options)
        with ExitStack() as stack:
            streams = [stack.enter_context(answer.stream(self)) for answer in prepared]
            return [collect(stream) for stream in streams]

    async def achoices(
        self,
        n: int,
        messages: Messages,
        tools: Tools = (),
        sampling: SamplingLike = None,
        **options: Unpack[ChatOptions],
    ) -> list[ChatResult]:
        """Return what `choices` returns, in an event loop."""
        chat_options(sampling, options)
        prepared = await asyncio.to_thread(lambda: self.prepare(messages, tools, sampling, **options))
        return await asyncio.gather(*(whole(answer) for answer in _several(n, prepared, options)))

    def run(
        self,
        messages: Messages,
        tools: Toolbox | Functions,
        sampling: SamplingLike = None,
        limits: Limits = None,
        *,
        max_turns: int | None = None,
        **options: Unpack[ChatOptions],
    ) -> RunResult:
        """Answer a conversation, run the functions that the model calls, and repeat until it calls none.

        The calls of one answer run in parallel, an `async def` on an event loop. The model is told what they raise.
        """
        chat_options(sampling, options, RUN_ARGUMENTS)  # names the keywords of `run` too
        given = conversation(messages), Toolbox.of(tools), _limits(limits, max_turns)
        return run(lambda history: self.chat(history, given[1], sampling, **options), *given)

    async def arun(
        self,
        messages: Messages,
        tools: Toolbox | Functions,
        sampling: SamplingLike = None,
        limits: Limits = None,
        *,
        max_turns: int | None = None,
        **options: Unpack[ChatOptions],
    ) -> RunResult:
        """Do what `run` does, in an event loop: it awaits an `async def`, and runs other functions on threads."""
        chat_options(sampling, options, RUN_ARGUMENTS)
        given = conversation(messages), Toolbox.of(tools), _limits(limits, max_turns)
        return await arun(lambda history: self.achat(history, given[1], sampling, **options), *given)

    def stream_run(
        self,
        messages: Messages,
        tools: Toolbox | Functions,
        sampling: SamplingLike = None,
        limits: Limits = None,
        *,
        max_turns: int | None = None,
        **options: Unpack[ChatOptions],
    ) -> Generator[RunEvent, None, None]:
        """Do what `run` does, event by event: the events of each answer, a ToolResult per call, a RunResult at the end.

        Closing the iterator stops the model.
        """
        chat_options(sampling, options, RUN_ARGUMENTS)  # raises now, not at the first event
        given = conversation(messages), Toolbox.of(tools), _limits(limits, max_turns)

        def stream(history: History) -> Generator[Event, None, None]:
            with self.stream(history, given[1], sampling, **options) as events:
                yield from events

        return stream_run(stream, *given)

    def astream_run(
        self,
        messages: Messages,
        tools: Toolbox | Functions,
        sampling: SamplingLike = None,
        limits: Limits = None,
        *,
        max_turns: int | None = None,
        **options: Unpack[ChatOptions],
    ) -> AsyncGenerator[RunEvent, None]:
        """Do what `stream_run` does, in an event loop."""
        chat_options(sampling, options, RUN_ARGUMENTS)
        given = conversation(messages), Toolbox.of(tools), _limits(limits, max_turns)
        return astream_run(lambda history: self.astream(history, given[1], sampling, **options), *given)


def _limits(limits: Limits, max_turns: int | None) -> RunOptions:
    """Return the limits of a run."""
    given = options_value(RunOptions, limits, "limits")
    return given if max_turns is None else replace(given, max_turns=max_turns)


def _several(n: int, prepared: PreparedAnswer, options: ChatOptions) -> list[PreparedAnswer]:
    """Return n answers to one prompt, ready to start."""
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise RequestError(f"{n!r} answers", field="n", fix="give a positive number")
    if n > prepared.engine.most_requests:
        fix = f"ask for {prepared.engine.most_requests} at most, or give a larger n_queue"
        raise RequestError(f"{n} answers at once", field="n", fix=fix)
    if n > 1 and options.get("constraint") is not None:
        raise RequestError("a constraint serves one answer", field="n", fix="ask for one, or give a format")
    return [prepared.for_choice(index) for index in range(n)]


async def _events(prepare: Callable[[], PreparedAnswer]) -> AsyncGenerator[Event, None]:
    loop = asyncio.get_running_loop()
    events = await asyncio.to_thread(lambda: prepare().events(loop))  # a grammar may take long
    with closing(events):
        async for event in events:
            yield event


async def whole(prepared: PreparedAnswer) -> ChatResult:
    """Return a whole answer, in an event loop."""
    async with aclosing(_events(lambda: prepared)) as events:
        return collect([event async for event in events])
