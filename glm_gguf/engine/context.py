"""A llama_context with one sequence: tokens go in, logits come out, and the common beginning of prompts is kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import llama_cpp
import numpy as np

from glm_gguf.engine.llama_log import collected_errors
from glm_gguf.engine.model_handle import ModelHandle
from glm_gguf.engine.options import DEFAULT_CONTEXT, EngineOptions
from glm_gguf.engine.sampler import Sampler
from glm_gguf.errors import EngineError, RequestError
from glm_gguf.gguf_file.contents import model_integer

SEQUENCE = 0
MORE_ROOM = "give a larger n_ctx, or a shorter conversation"


class Context:
    """Owner of a llama_context and of the batch it is fed with; `tokens` are what its KV cache holds."""

    def __init__(self, model: ModelHandle, options: EngineOptions) -> None:
        self._model = model
        self.n_ctx = _context_length(model, options)
        self.tokens: list[int] = []
        self._n_batch = min(options.n_batch, self.n_ctx)
        self._pointer: llama_cpp.llama_context_p | None = _new_context(model, options, self.n_ctx, self._n_batch)
        # struct llama_batch llama_batch_init(int32_t n_tokens, int32_t embd, int32_t n_seq_max)
        self._batch = llama_cpp.llama_batch_init(self._n_batch, 0, 1)

    @property
    def pointer(self) -> llama_cpp.llama_context_p:
        """The llama_context; EngineError after close()."""
        if self._pointer is None:
            raise EngineError("the context is closed", where=self._model.path)
        return self._pointer

    @property
    def full(self) -> bool:
        """No further token has room."""
        return len(self.tokens) >= self.n_ctx

    def load_prompt(self, prompt: Sequence[int]) -> int:
        """Make the cache hold exactly this prompt, its logits ready; return how many tokens were there already."""
        if not prompt:
            raise RequestError("the prompt is empty", fix="give at least one token")
        if len(prompt) >= self.n_ctx:
            raise RequestError(f"{len(prompt)} tokens do not fit into {self.n_ctx}", where="prompt", fix=MORE_ROOM)
        # The last token is computed again even if it is there: its logits are wanted.
        kept = _common_length(self.tokens, prompt[:-1])
        self._keep(kept)
        for start in range(kept, len(prompt), self._n_batch):
            self.decode(prompt[start : start + self._n_batch])
        return kept

    def decode(self, token_ids: Sequence[int]) -> None:
        """Append tokens, at most a batch of them, and compute the logits behind the last."""
        size = self._model.vocabulary.size
        count = len(token_ids)
        # llama.cpp would abort the process on the first two, and read beyond its tables on the third.
        if not 0 < count <= self._n_batch or len(self.tokens) + count > self.n_ctx:
            raise EngineError(f"{count} tokens behind {len(self.tokens)} do not fit", fix=MORE_ROOM)
        if not all(0 <= token_id < size for token_id in token_ids):
            raise EngineError(f"a token id is not in the vocabulary of {size}")
        self._fill_batch(token_ids)
        code = llama_cpp.llama_decode(self.pointer, self._batch)
        if code != 0:
            self._keep(0)
            raise EngineError(f"llama_decode failed on {count} tokens (code {code})", where=self._model.path)
        self.tokens += token_ids

    def sample(self, sampler: Sampler) -> int:
        """Draw the token that follows."""
        # float * llama_get_logits_ith(struct llama_context * ctx, int32_t i): [n_vocab], NULL where there are none
        logits = llama_cpp.llama_get_logits_ith(self.pointer, -1)
        if not logits:
            raise EngineError("there are no logits to draw from", where=self._model.path)
        # NaN and infinity end up in an assertion of llama.cpp's samplers. A maximum hands NaN on.
        highest = np.ctypeslib.as_array(logits, (self._model.vocabulary.size,)).max()
        if not math.isfinite(highest):
            raise EngineError("the model computed NaN or infinity", where=self._model.path, fix="verify the file")
        return int(llama_cpp.llama_sampler_sample(sampler.pointer, self.pointer, -1))

    def close(self) -> None:
        """Free context and batch; doing it twice does no harm."""
        pointer, self._pointer = self._pointer, None
        if pointer is not None:
            llama_cpp.llama_batch_free(self._batch)
            llama_cpp.llama_free(pointer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _keep(self, count: int) -> None:
        """Forget all but the first tokens, those of an interrupted decode included."""
        memory = llama_cpp.llama_get_memory(self.pointer)
        if not memory:
            raise EngineError("the context has no KV cache", where=self._model.path)
        # bool llama_memory_seq_rm(llama_memory_t mem, llama_seq_id seq_id, llama_pos p0, llama_pos p1): [p0, p1)
        if not llama_cpp.llama_memory_seq_rm(memory, SEQUENCE, count, -1):
            raise EngineError("llama.cpp could not shorten its KV cache", where=self._model.path)
        del self.tokens[count:]

    def _fill_batch(self, token_ids: Sequence[int]) -> None:
        batch, past, count = self._batch, len(self.tokens), len(token_ids)
        batch.n_tokens = count
        for index, token_id in enumerate(token_ids):
            batch.token[index] = token_id
            batch.pos[index] = past + index
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = SEQUENCE
            batch.logits[index] = index == count - 1


def _common_length(first: Sequence[int], second: Sequence[int]) -> int:
    """Count the items at the beginning that both have."""
    pairs = zip(first, second, strict=False)
    return next((index for index, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))


def _context_length(model: ModelHandle, options: EngineOptions) -> int:
    """Return the context in tokens: as asked, or the model's own up to a default."""
    trained = model_integer(model.metadata, "context_length") or DEFAULT_CONTEXT
    if options.n_ctx is None:
        return min(trained, DEFAULT_CONTEXT)
    if options.n_ctx > trained:
        fix = f"give up to {trained}, or convert the checkpoint with --yarn"
        raise RequestError(f"{options.n_ctx} tokens are more than the model knows", where="n_ctx", fix=fix)
    return options.n_ctx


def _new_context(model: ModelHandle, options: EngineOptions, n_ctx: int, n_batch: int) -> llama_cpp.llama_context_p:
    """Have llama.cpp allocate a context of one sequence."""
    parameters = llama_cpp.llama_context_default_params()
    parameters.n_ctx = n_ctx
    parameters.n_batch = parameters.n_ubatch = n_batch
    parameters.n_seq_max = 1
    parameters.n_threads = parameters.n_threads_batch = options.threads
    with collected_errors() as errors:
        pointer: llama_cpp.llama_context_p | None = llama_cpp.llama_init_from_model(model.pointer, parameters)
    if not pointer:
        reason = f": {errors[0]}" if errors else ""
        raise EngineError(f"llama.cpp made no context of {n_ctx} tokens{reason}", where=model.path, fix="lower n_ctx")
    return pointer
