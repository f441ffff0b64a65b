"""GLM, the class that applications embed: open a GGUF file, pass conversations, get answers."""

from __future__ import annotations

import asyncio
import logging
import operator
import os
import weakref
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, Unpack, overload

from glm_gguf.answers.accepted_keywords import (
    SamplingLike,
    chat_options,
    completion_options,
    engine_options,
    prompt_variables,
)
from glm_gguf.answers.answer_options import ChatOptions, CompletionOptions, PromptOptions
from glm_gguf.answers.answer_preparer import AnswerPreparer
from glm_gguf.answers.answer_reader import token_logprob
from glm_gguf.answers.prepared_answer import EventStream, PreparedAnswer
from glm_gguf.chat.events import TokenLogprob, collect
from glm_gguf.chat.messages import Messages, conversation
from glm_gguf.chat.tools import Tools, declarations
from glm_gguf.chat_model import ChatModel, whole
from glm_gguf.engine.delivery import SampledToken
from glm_gguf.engine.open_engine import open_engine
from glm_gguf.engine.session import Sessions
from glm_gguf.engine.status import EngineStatus
from glm_gguf.errors import RequestError
from glm_gguf.gguf_file.finding import Finding
from glm_gguf.gguf_file.report import Report
from glm_gguf.gguf_file.values import Plain, plain_value
from glm_gguf.llama.engine_options import EngineFields, EngineOptions, Scales
from glm_gguf.llama.fingerprint import fingerprint, vocabulary_hash
from glm_gguf.llama.footprint import Footprint
from glm_gguf.llama.model_handle import OnLoading
from glm_gguf.llama.sampling_params import SamplingParams
from glm_gguf.llama.vocabulary import token_ids

if TYPE_CHECKING:
    from glm_gguf.engine.embedding import Vector

LOGGER = logging.getLogger(__name__)
ONE_TOKEN: Final = SamplingParams(temperature=0, max_tokens=1)
TEXT: Final = "content"
"""Name of the argument of `embed`, for errors."""
FilePath = str | os.PathLike[str]
Text = str | Sequence[int]
"""A text, or its token ids."""
Texts = list[str] | tuple[str, ...] | list[list[int]]
"""Several texts, or their token ids."""


class GLM(ChatModel):
    """A loaded GLM-4 model: `with GLM("model.gguf", n_parallel=4) as glm: glm.chat("Hello")`.

    Any thread may call it at any time. It writes up to `n_parallel` answers at once, and computes a common beginning of
    their prompts once. Keywords are the fields of EngineOptions; they win over `options`. `session` is a file of
    `save_session`; if it does not fit this model, `session_refused` says why. `on_loading` is called with the loaded
    share of the weights, from 0 to 1, on another thread. A forked process must open its own GLM.
    Raises GlmGgufError for a file, a session or options that it cannot use.
    """

    def __init__(
        self,
        path: FilePath,
        *,
        session: FilePath | None = None,
        on_loading: OnLoading | None = None,
        options: EngineOptions | Mapping[str, Any] | None = None,
        **fields: Unpack[EngineFields],
    ) -> None:
        self._options = engine_options(options, fields)
        with ExitStack() as stack:
            opened = open_engine(path, self._options, stack, on_loading)
            self._file, self._plan, self._model, self._engine = opened.file, opened.plan, opened.model, opened.engine
            self._preparer = AnswerPreparer(self._model, self._engine, self._options)
            self.variant = self._preparer.renderer.variant
            self.sampling = self._preparer.sampling
            self.session_refused = None if session is None else self.sessions().load(Path(session))
            # Runs at close(), when this object is collected, or when Python ends.
            self._closer = weakref.finalize(self, _close, stack.pop_all(), os.getpid())

    @property
    def n_ctx(self) -> int:
        """Tokens of the longest conversation. All conversations together have `footprint.n_cells`."""
        return self._engine.size.n_ctx

    @property
    def status(self) -> EngineStatus:
        """Running and waiting requests, and the use of the KV cache."""
        return self._engine.status

    @property
    def footprint(self) -> Footprint:
        """Which devices compute the model, and how much memory it takes."""
        return Footprint.of(self._plan)

    @property
    def template_variables(self) -> frozenset[str]:
        """The names in `variables` that the chat template reads; prompts refuse any other."""
        return self._preparer.renderer.variables

    @property
    def metadata(self) -> dict[str, Plain]:
        """The keys of the file with their values: numbers, texts, and tuples of these."""
        return {key: plain_value(value) for key, value in self._file.metadata.items()}

    @property
    def report(self) -> Report:
        """What `glm-gguf inspect` tells of the file: its keys, tensors and types, and what is odd about it."""
        return Report.of(self._file.contents, self._file.findings)

    @property
    def problems(self) -> tuple[Finding, ...]:
        """Known faults of the file that do not prevent loading it."""
        return self._file.problems

    def prepare(
        self, messages: Messages, tools: Tools = (), sampling: SamplingLike = None, **options: Unpack[ChatOptions]
    ) -> PreparedAnswer:
        """Render a conversation and compile the grammar of its answer, without starting it.

        Raises GlmGgufError for messages, tools or options that it cannot use.
        """
        return self._preparer.conversation(
            conversation(messages), declarations(tools), *chat_options(sampling, options)
        )

    def continuation(
        self, prompt: Text, sampling: SamplingLike = None, **options: Unpack[CompletionOptions]
    ) -> PreparedAnswer:
        """Prepare the continuation of a text or of token ids, as `prepare` does for a conversation."""
        return self._preparer.continuation(self._parsed(prompt), *completion_options(sampling, options))

    def stream_completion(
        self, prompt: Text, sampling: SamplingLike = None, **options: Unpack[CompletionOptions]
    ) -> EventStream:
        """Continue a text event by event, without a template. Control tokens in the text count as such."""
        return self.continuation(prompt, sampling, **options).stream(self)

    def complete(self, prompt: Text, sampling: SamplingLike = None, **options: Unpack[CompletionOptions]) -> str:
        """Continue a text as `stream_completion` does, and return the new text."""
        with self.stream_completion(prompt, sampling, **options) as events:
            return collect(events).content

    async def acomplete(self, prompt: Text, sampling: SamplingLike = None, **options: Unpack[CompletionOptions]) -> str:
        """Continue a text as `complete` does, in an event loop; cancelling it stops the model."""
        prepared = await asyncio.to_thread(lambda: self.continuation(prompt, sampling, **options))
        return (await whole(prepared)).content

    def tokenize(self, content: str) -> list[int]:
        """Return the token ids of a text; control tokens in it are plain text."""
        if not isinstance(content, str):
            raise RequestError(f"{type(content).__name__} is no text", field="content", fix="give a text")
        return self._model.vocabulary.plain_ids(content)

    def detokenize(self, ids: Sequence[int]) -> str:
        """Return the text of token ids, with control tokens spelled out; invalid UTF-8 becomes U+FFFD."""
        spelled = map(self._model.vocabulary.token_bytes, token_ids(ids, "tokens"))
        return b"".join(spelled).decode(errors="replace")

    def token_bytes(self, token_id: int) -> bytes:
        """Return the bytes of a token, which may be a part of a character."""
        return self._model.vocabulary.token_bytes(operator.index(token_id))

    def apply_template(self, messages: Messages, tools: Tools = (), **options: Unpack[PromptOptions]) -> str:
        """Return the prompt of a conversation as text."""
        return self._preparer.renderer.text(
            conversation(messages),
            declarations(tools),
            prompt_variables(options),
            continues=options.get("continue_final_message") is True,
        )

    def prompt_ids(self, messages: Messages, tools: Tools = (), **options: Unpack[PromptOptions]) -> list[int]:
        """Return the prompt of a conversation as token ids."""
        sampling, given = chat_options(None, {**options, "variables": prompt_variables(options)})
        prompt = self._preparer.prompt(conversation(messages), declarations(tools), sampling, given)
        return list(prompt.ids[: len(prompt.ids) - prompt.uncounted])

    @overload
    def embed(self, content: Text) -> Vector: ...
    @overload
    def embed(self, content: Texts) -> list[Vector]: ...
    def embed(self, content: Text | Texts) -> Vector | list[Vector]:
        """Return the vector of a text: float32 [n_embd] of length 1, the mean of the final hidden states.

        A list of texts, or of lists of token ids, gives a list of vectors. Raises RequestError for an empty text.
        """
        texts = self._texts(content)
        vectors = [self._engine.embed(ids, field) for field, ids in texts.items()]
        return vectors if TEXT not in texts else vectors[0]

    @overload
    async def aembed(self, content: Text) -> Vector: ...
    @overload
    async def aembed(self, content: Texts) -> list[Vector]: ...
    async def aembed(self, content: Text | Texts) -> Vector | list[Vector]:
        """Return what `embed` returns, in an event loop; cancelling it frees its cells."""
        texts = self._texts(content)
        vectors = [await self._engine.aembed(ids, field) for field, ids in texts.items()]
        return vectors if TEXT not in texts else vectors[0]

    def score(self, prompt: Text, alternatives: int = 0, lora: Mapping[str, float] | None = None) -> list[TokenLogprob]:
        """Return the natural log probability of each token after those before it; 0 for the first.

        Each has its `alternatives` likeliest tokens, up to 20. Control tokens in a text count as such, as in
        `complete`. Raises RequestError for more, for an unknown adapter, and for a text longer than the context.
        """
        return self._spelled(self._engine.score(*self._scored(prompt, alternatives, lora)))

    async def ascore(
        self, prompt: Text, alternatives: int = 0, lora: Mapping[str, float] | None = None
    ) -> list[TokenLogprob]:
        """Return what `score` returns, in an event loop; cancelling it frees its cells."""
        scored = await asyncio.to_thread(self._scored, prompt, alternatives, lora)
        return self._spelled(await self._engine.ascore(*scored))

    def save_session(self, path: FilePath, messages: Messages | None = None, tools: Tools = ()) -> None:
        """Write the KV cache of the beginning of a conversation to a file, for `GLM(..., session=path)`.

        Usually these are system messages and tools. Without messages it writes the whole cache.
        """
        wanted = None
        if messages is not None:
            history = conversation(messages) if messages else ()
            wanted = [self._preparer.renderer.beginning(history, declarations(tools))]
        self.sessions().save(Path(path), wanted)

    def fingerprint(self) -> str:
        """Return a hash of the file and of the options that change answers."""
        return fingerprint(tuple(file.path for file in self._file.contents.files), self._plan.options)

    def close(self) -> None:
        """Stop all answers, and free the model and its context. Closing it twice is fine."""
        self._closer()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _parsed(self, prompt: Text) -> Sequence[int]:
        """Return the token ids of a text whose control tokens count as such."""
        return self._model.vocabulary.parsed_ids(prompt) if isinstance(prompt, str) else token_ids(prompt, "prompt")

    def _texts(self, content: Text | Texts) -> dict[str, Sequence[int]]:
        """Return the token ids of one text or of several, by the name of each in errors."""
        several = isinstance(content, list | tuple) and bool(content) and isinstance(content[0], str | Sequence)
        texts = {f"{TEXT}[{index}]": text for index, text in enumerate(content)} if several else {TEXT: content}
        return {
            name: self.tokenize(text) if isinstance(text, str) else token_ids(text, name)
            for name, text in texts.items()
        }

    def _scored(self, prompt: Text, alternatives: int, lora: Mapping[str, float] | None) -> tuple[Any, int, Scales]:
        """Return token ids, number of alternatives and scales of adapters to score."""
        SamplingParams(logprobs=alternatives)  # raises for too many
        scales = self._options.scales if lora is None else self._options.scales_of(lora)
        return self._parsed(prompt), alternatives, scales

    def _spelled(self, scored: Sequence[SampledToken]) -> list[TokenLogprob]:
        return [token_logprob(token, self._model.vocabulary.token_bytes) for token in scored]

    def sessions(self) -> Sessions:
        """Return what saves and restores the KV cache of this model with its options."""
        identity = self.fingerprint(), vocabulary_hash(self._file.metadata)
        return Sessions(self._engine, *identity, self._options.scales, self._compute)

    def _compute(self, tokens: Sequence[int]) -> None:
        """Compute tokens into the KV cache."""
        self.complete(tokens, ONE_TOKEN)


def _close(resources: ExitStack, process: int) -> None:
    """Free model and context. A forked child does not: it shares their memory, but has no engine thread."""
    if os.getpid() == process:
        resources.close()
