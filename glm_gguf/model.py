"""The facade applications embed: a GGUF file opened, conversations in, events out."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, Unpack

from glm_gguf.agent import RunOptions, RunResult, run
from glm_gguf.chat.events import ChatResult, Event, TokenLogprob, collect
from glm_gguf.chat.tools import Tool, Toolbox
from glm_gguf.engine.answer import token_logprob
from glm_gguf.engine.answer_options import AnswerOptions
from glm_gguf.engine.attempts import Attempts, EventStream
from glm_gguf.engine.engine import Engine
from glm_gguf.engine.fingerprint import fingerprint, vocabulary_hash
from glm_gguf.engine.model_handle import ModelHandle
from glm_gguf.engine.options import EngineOptions
from glm_gguf.engine.preparer import Preparer
from glm_gguf.engine.prompting import NO_VARIABLES
from glm_gguf.engine.sampling import SamplingParams
from glm_gguf.engine.session import Sessions
from glm_gguf.engine.status import EngineStatus
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
            self._preparer = Preparer(self._model, self._engine, self._options)
            self.variant = self._preparer.prompter.variant
            self.sampling = self._preparer.sampling
            self.session_refused = None if session is None else self._sessions().load(Path(session))
            # Runs at close(), when this object is collected, or when Python ends; in the process that opened it.
            self._closer = weakref.finalize(self, _close, stack.pop_all(), os.getpid())

    @property
    def n_ctx(self) -> int:
        """Most tokens of one conversation."""
        return self._engine.size.n_ctx

    @property
    def status(self) -> EngineStatus:
        """What the engine is busy with."""
        return self._engine.status

    @property
    def metadata(self) -> Metadata:
        """Keys of the file."""
        return self._model.metadata

    @property
    def problems(self) -> tuple[Finding, ...]:
        """What is wrong with the file, though it can be loaded."""
        return self._model.problems

    def prepare(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Tool] = (),
        sampling: SamplingParams = FILE_DEFAULTS,
        **options: Unpack[AnswerOptions],
    ) -> Attempts:
        """Render a conversation and compile what its answer must meet, without beginning it.

        Raises GlmGgufError for what cannot be answered.
        """
        return self._preparer.conversation(messages, tools, sampling, options)

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
        return self.prepare(messages, tools, sampling, **options).stream(self)

    async def astream(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Tool] = (),
        sampling: SamplingParams = FILE_DEFAULTS,
        **options: Unpack[AnswerOptions],
    ) -> AsyncIterator[Event]:
        """Answer a conversation as `stream` does, in an event loop, which templates and grammars do not hold up."""
        loop = asyncio.get_running_loop()
        events = await asyncio.to_thread(
            lambda: self.prepare(messages, tools, sampling, **options).events(loop)  # a thread, for grammars take long
        )
        with closing(events):
            async for event in events:
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
            raise RequestError(f"{n} answers", field="n", fix="give a positive number")
        prepared = self.prepare(messages, tools, sampling)
        with ExitStack() as stack:
            streams = [stack.enter_context(prepared.choice(index).stream(self)) for index in range(n)]
            return [collect(stream) for stream in streams]

    def continuation(
        self, prompt: str | Sequence[int], sampling: SamplingParams = FILE_DEFAULTS, **options: Unpack[AnswerOptions]
    ) -> Attempts:
        """Make a text or tokens ready to be continued as they stand, without beginning it."""
        ids = self._model.vocabulary.parsed_ids(prompt) if isinstance(prompt, str) else prompt
        return self._preparer.continuation(ids, sampling, options)

    def stream_completion(
        self, prompt: str | Sequence[int], sampling: SamplingParams = FILE_DEFAULTS, **options: Unpack[AnswerOptions]
    ) -> EventStream:
        """Continue a text as it stands, without any template; control tokens spelled in it are meant."""
        return self.continuation(prompt, sampling, **options).stream(self)

    def complete(
        self, prompt: str | Sequence[int], sampling: SamplingParams = FILE_DEFAULTS, **options: Unpack[AnswerOptions]
    ) -> str:
        """Continue a text as `stream_completion` does, and return what was written."""
        with self.stream_completion(prompt, sampling, **options) as events:
            return collect(events).content

    def tokenize(self, content: str) -> list[int]:
        """Return the token ids of a text in which nothing is special."""
        return self._model.vocabulary.plain_ids(content)

    def detokenize(self, ids: Sequence[int]) -> str:
        """Return the text of token ids, control tokens spelled; what is no UTF-8 as U+FFFD."""
        return b"".join(map(self._model.vocabulary.token_bytes, ids)).decode(errors="replace")

    def apply_template(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Tool] = (), **options: Unpack[AnswerOptions]
    ) -> str:
        """Return the prompt of a conversation, as text."""
        return self._preparer.prompter.text(messages, tools, options.get("variables", NO_VARIABLES))

    def prompt_ids(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Tool] = (), **options: Unpack[AnswerOptions]
    ) -> list[int]:
        """Return the prompt of a conversation, as token ids."""
        return list(self._preparer.prompter.prompt(messages, tools, options.get("variables", NO_VARIABLES)).ids)

    def embed(self, content: str | Sequence[int]) -> Vector:
        """Return a text's vector, [n_embd] of length 1: the mean of the model's final hidden states."""
        return self._engine.embed(self.tokenize(content) if isinstance(content, str) else content)

    async def aembed(self, tokens: Sequence[int], where: str = "prompt") -> Vector:
        """Return the vector of tokens in an event loop; cancelling it frees its cells. `where` names it in errors."""
        return await self._engine.aembed(tokens, where)

    async def ascore(
        self, prompt: str | Sequence[int], alternatives: int = 0, lora: Mapping[str, float] | None = None
    ) -> list[TokenLogprob]:
        """Return in an event loop the natural log probability of each token behind those before it; 0 for the first.

        Control tokens spelled in a text are meant, as in `complete`. With each come so many of the likeliest in its
        place, `alternatives`, up to 20. Raises RequestError for more, for an unknown adapter, for what does not fit.
        """
        SamplingParams(logprobs=alternatives)  # refuses too many
        ids = self._model.vocabulary.parsed_ids(prompt) if isinstance(prompt, str) else prompt
        scales = self._options.scales if lora is None else self._options.scales_of(lora)
        spelled = self._model.vocabulary.token_bytes
        return [token_logprob(drawn, spelled) for drawn in await self._engine.ascore(ids, alternatives, scales)]

    def save_session(
        self,
        path: str | os.PathLike[str],
        messages: Sequence[Mapping[str, Any]] | None = None,
        tools: Sequence[Tool] = (),
    ) -> None:
        """Write the computed beginning of a conversation to a file, for `GLM(..., session=path)`.

        Usually system messages and tools. Without messages everything that the cache holds is written.
        """
        wanted = None if messages is None else [self._preparer.prompter.beginning(messages, tools)]
        self._sessions().save(Path(path), wanted)

    def fingerprint(self) -> str:
        """Return a hash that tells this file and these settings from others."""
        return fingerprint(tuple(file.path for file in self._model.contents.files), self._options)

    def close(self) -> None:
        """Stop all answers, free model and context; doing it twice does no harm."""
        self._closer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _sessions(self) -> Sessions:
        """Saved prefixes as they belong to this model."""
        identity = self.fingerprint(), vocabulary_hash(self._model.metadata)
        return Sessions(self._engine, *identity, self._options.scales, self._compute)

    def _compute(self, tokens: Sequence[int]) -> None:
        """Have tokens computed into the cache."""
        self.complete(tokens, ONE_TOKEN)


def _close(resources: ExitStack, process: int) -> None:
    """Free model and context, unless this is a forked child, which shares their memory but has no engine's thread."""
    if os.getpid() == process:
        resources.close()
