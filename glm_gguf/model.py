"""The facade applications embed: a GGUF file opened, conversations in, events out."""

from __future__ import annotations

import math
import os
import time
import weakref
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, Unpack

from glm_gguf.agent import RunOptions, RunResult, run
from glm_gguf.chat.answer_plan import AnswerPlan, plan_answer
from glm_gguf.chat.events import ChatResult, Event, collect
from glm_gguf.chat.grammar import rules
from glm_gguf.chat.output_parser import OutputParser
from glm_gguf.chat.tools import Tool, Toolbox, declarations
from glm_gguf.engine.answer import Answer, PlainText
from glm_gguf.engine.answer_options import AnswerOptions
from glm_gguf.engine.answer_stream import AnswerStream
from glm_gguf.engine.attempts import Attempts, EventStream, again
from glm_gguf.engine.constraint import Grammars
from glm_gguf.engine.constraint_protocol import Constraint
from glm_gguf.engine.engine import Engine
from glm_gguf.engine.fingerprint import fingerprint, vocabulary_hash
from glm_gguf.engine.model_handle import ModelHandle
from glm_gguf.engine.options import EngineOptions
from glm_gguf.engine.overflow import drops_turns, reserved_tokens
from glm_gguf.engine.prompting import NO_VARIABLES, Prompter
from glm_gguf.engine.request import Request
from glm_gguf.engine.sampling import SamplingParams, default_sampling
from glm_gguf.engine.session import Sessions
from glm_gguf.engine.thought_budget import CLOSING_TEXT, ThoughtBudget
from glm_gguf.errors import RequestError
from glm_gguf.gguf_file.finding import Finding
from glm_gguf.gguf_file.values import Metadata

if TYPE_CHECKING:
    from glm_gguf.engine.embedding import Vector

FILE_DEFAULTS: Final = SamplingParams()
ENGINE_DEFAULTS: Final = EngineOptions()
RUN_DEFAULTS: Final = RunOptions()
ONE_TOKEN: Final = SamplingParams(temperature=0, max_tokens=1)


class GLM:
    """A loaded GLM-4-0414: `with GLM("model.gguf", n_parallel=4) as glm: glm.chat([...])`.

    Any thread may ask at any time: answers are written side by side, and what prompts begin with in common is
    computed once. After a fork the child opens its own.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        n_ctx: int | None = None,
        n_parallel: int | None = None,
        session: str | os.PathLike[str] | None = None,
        options: EngineOptions = ENGINE_DEFAULTS,
    ) -> None:
        self._options = replace(
            options,
            n_ctx=options.n_ctx if n_ctx is None else n_ctx,
            n_parallel=options.n_parallel if n_parallel is None else n_parallel,
        )
        with ExitStack() as stack:
            self._model = stack.enter_context(ModelHandle(path, self._options))
            self._engine = stack.enter_context(Engine(self._model, self._options))
            self._prompter = Prompter(self._model)
            self._grammars = Grammars(self._model.vocabulary)
            self.variant = self._prompter.variant
            self.sampling = default_sampling(self._model.metadata, self.variant)
            self.session_refused = None if session is None else self._sessions().load(Path(session))
            # Runs at close(), when this object is collected, or when Python ends; in the process that opened it.
            self._closer = weakref.finalize(self, _close, stack.pop_all(), os.getpid())

    @property
    def n_ctx(self) -> int:
        """Most tokens of one conversation."""
        return self._engine.size.n_ctx

    @property
    def metadata(self) -> Metadata:
        """Keys of the file."""
        return self._model.metadata

    @property
    def problems(self) -> tuple[Finding, ...]:
        """What is wrong with the file, though it can be loaded."""
        return self._model.problems

    def stream(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Tool] = (),
        sampling: SamplingParams = FILE_DEFAULTS,
        **options: Unpack[AnswerOptions],
    ) -> EventStream:
        """Answer a conversation in OpenAI's or the template's form; the last event is Finish.

        `tools` are Python functions or declarations. Raises GlmGgufError at once for what cannot be rendered. The
        model begins now; closing the iterator stops it.
        """
        return self._conversation(messages, tools, sampling, options).stream(self._engine, self)

    async def astream(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Tool] = (),
        sampling: SamplingParams = FILE_DEFAULTS,
        **options: Unpack[AnswerOptions],
    ) -> AsyncIterator[Event]:
        """Answer a conversation as `stream` does, in an event loop."""
        async for event in self._conversation(messages, tools, sampling, options).events(self._engine):
            yield event

    def chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Tool] = (),
        sampling: SamplingParams = FILE_DEFAULTS,
        **options: Unpack[AnswerOptions],
    ) -> ChatResult:
        """Answer a conversation as `stream` does, and return the whole answer."""
        with self.stream(messages, tools, sampling, **options) as events:
            return collect(events)

    def run(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Callable[..., Any]] | Toolbox,
        sampling: SamplingParams = FILE_DEFAULTS,
        limits: RunOptions = RUN_DEFAULTS,
        *,
        max_turns: int | None = None,
        **options: Unpack[AnswerOptions],
    ) -> RunResult:
        """Answer a conversation, run the functions the model calls, and go on until it calls none.

        Calls of one answer run side by side; what they raise is told to the model.
        """
        toolbox = tools if isinstance(tools, Toolbox) else Toolbox.of(tools)

        def answer(transcript: Sequence[Mapping[str, Any]]) -> ChatResult:
            return self.chat(transcript, toolbox.declarations, sampling, **options)

        return run(answer, messages, toolbox, replace(limits, max_turns=max_turns or limits.max_turns))

    def choices(
        self,
        n: int,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Tool] = (),
        sampling: SamplingParams = FILE_DEFAULTS,
    ) -> list[ChatResult]:
        """Answer a conversation n times at once; the prompt is computed once, and a seed is counted up."""
        if n < 1:
            raise RequestError(f"{n} answers", where="n", fix="give a positive number")
        with ExitStack() as stack:
            streams = [self.stream(messages, tools, _counted_up(sampling, index)) for index in range(n)]
            for stream in streams:
                stack.enter_context(stream)
            return [collect(stream) for stream in streams]

    def complete(
        self, prompt: str, sampling: SamplingParams = FILE_DEFAULTS, **options: Unpack[AnswerOptions]
    ) -> AnswerStream:
        """Continue a text as it stands, without any template; control tokens spelled in it are meant."""
        ids = self._model.vocabulary.parsed_ids(prompt)
        return self._continuation(self._request(ids, sampling, options, options.get("constraint")))

    def tokenize(self, content: str) -> list[int]:
        """Return the token ids of a text in which nothing is special."""
        return self._model.vocabulary.plain_ids(content)

    def embed(self, content: str) -> Vector:
        """Return a text's vector, [n_embd] of length 1: the mean of the model's final hidden states."""
        return self._engine.embed(self.tokenize(content))

    def save_session(
        self,
        path: str | os.PathLike[str],
        messages: Sequence[Mapping[str, Any]] | None = None,
        tools: Sequence[Tool] = (),
    ) -> None:
        """Write the computed beginning of a conversation to a file, for `GLM(..., session=path)`.

        Usually system messages and tools. Without messages everything that the cache holds is written.
        """
        wanted = None if messages is None else [self._prompter.beginning(messages, tools)]
        self._sessions().save(Path(path), wanted)

    def close(self) -> None:
        """Stop all answers, free model and context; doing it twice does no harm."""
        self._closer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _conversation(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Tool],
        sampling: SamplingParams,
        options: AnswerOptions,
    ) -> Attempts:
        """Render a conversation, and plan the answer to it."""
        reserved = reserved_tokens(sampling.max_tokens, self.n_ctx)
        room = self.n_ctx - reserved if drops_turns(options.get("on_overflow", "error")) else None
        prompt = self._prompter.prompt(messages, tools, options.get("variables", NO_VARIABLES), room)
        form = prompt.form
        plan = AnswerPlan(form) if "constraint" in options else plan_answer(declarations(tools), rules(options), form)

        def begin(number: int) -> tuple[Request, Answer]:
            return self._attempt(prompt.ids, plan, again(sampling.filled(self.sampling), number), options)

        return Attempts(begin, plan)

    def _attempt(
        self, prompt: Sequence[int], plan: AnswerPlan, sampling: SamplingParams, options: AnswerOptions
    ) -> tuple[Request, Answer]:
        """Make the request for an answer, and the reader of what comes."""
        vocabulary = self._model.vocabulary
        constraint = options.get("constraint")
        if plan.grammar is not None:
            constraint = self._grammars.constraint(plan.grammar.text)
        if plan.form.starts_in_thought and sampling.thinking_budget is not None:
            closing = vocabulary.plain_ids(CLOSING_TEXT)
            constraint = ThoughtBudget(sampling.thinking_budget, closing, vocabulary.token_bytes, constraint)
        request = self._request(prompt, sampling, options, constraint)
        reader = OutputParser(vocabulary.token_bytes, vocabulary.role_marks, plan.form)
        return request, Answer(reader, vocabulary.token_bytes, request)

    def _request(
        self,
        prompt: Sequence[int],
        sampling: SamplingParams,
        options: AnswerOptions,
        constraint: Constraint | None = None,
    ) -> Request:
        """Fill what the caller left open."""
        timeout = options.get("timeout")
        if timeout is not None and not timeout > 0:
            raise RequestError(f"{timeout} seconds", where="timeout", fix="give a positive number")
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        scales = self._options.scales_of(options["lora"]) if "lora" in options else self._options.scales
        return Request(tuple(prompt), sampling.filled(self.sampling), constraint, deadline, scales)

    def _continuation(self, request: Request) -> AnswerStream:
        """Continue a prompt without any template."""
        vocabulary = self._model.vocabulary
        reader = PlainText(vocabulary.token_bytes, vocabulary.stop_ids)
        return AnswerStream(self._engine, request, Answer(reader, vocabulary.token_bytes, request), self)

    def _sessions(self) -> Sessions:
        """Saved prefixes as they belong to this model."""
        files = tuple(file.path for file in self._model.contents.files)
        identity = fingerprint(files, self._options), vocabulary_hash(self._model.metadata)
        return Sessions(self._engine, *identity, self._options.scales, self._compute)

    def _compute(self, tokens: Sequence[int]) -> None:
        """Have tokens computed into the cache."""
        with self._continuation(self._request(tokens, ONE_TOKEN, {})) as events:
            collect(events)


def _close(resources: ExitStack, process: int) -> None:
    """Free model and context, unless this is a forked child, which shares their memory but has no engine's thread."""
    if os.getpid() == process:
        resources.close()


def _counted_up(sampling: SamplingParams, index: int) -> SamplingParams:
    return sampling if sampling.seed is None else replace(sampling, seed=sampling.seed + index)
