"""A model that computes chunks of text, one at a time, without the engine's thread."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from glm_gguf.errors import EngineError
from glm_gguf.gguf_file.values import texts
from glm_gguf.llama.batch import Batch
from glm_gguf.llama.context import Context
from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.llama.evaluation_callback import EvaluationCallback, Observer
from glm_gguf.llama.lent_devices import borrowed
from glm_gguf.llama.load_plan import LoadPlan, Machine
from glm_gguf.llama.model_file import ModelFile
from glm_gguf.llama.model_handle import ModelHandle

Floats = npt.NDArray[np.float32]
ROWS: Final = 16
"""Rows of logits that are read at once: 10 MB at GLM's vocabulary."""
LOGITS_COPIES: Final = 2
"""llama.cpp keeps a batch's logits in its compute buffer, and again in its output."""


class ChunkModel:
    """A loaded model and a context of one chunk."""

    def __init__(self, model: ModelHandle, context: Context) -> None:
        self.model = model
        self._context = context
        self._batch = Batch(context.plan.batches.alone)

    def compute(self, tokens: Sequence[int]) -> None:
        """Compute a chunk, all of whose tokens pass all layers; for an observer."""
        for _ in self._batches(tokens, 0):
            self._context.synchronize()

    def logits(self, tokens: Sequence[int], first: int) -> Iterator[Floats]:
        """Compute a chunk and yield the logits after each token from `first` on, in blocks [rows, n_vocab].

        EngineError for NaN or infinity.
        """
        for n_tokens, n_outputs in self._batches(tokens, first):
            rows = range(n_tokens - n_outputs, n_tokens)
            for start in range(0, n_outputs, ROWS):
                block = np.stack([self._context.raw_logits(row) for row in rows[start : start + ROWS]])
                if not np.isfinite(block.max(axis=1)).all():  # the maximum is NaN where any is
                    what = "the model computed NaN or infinity"
                    raise EngineError(what, path=self.model.path, fix="verify the file, or make it again")
                yield block

    def decode_times(self, tokens: Sequence[int], n_tokens: int) -> list[float]:
        """Compute a chunk, its last tokens one by one; return the seconds that each of these took."""
        for _ in self._batches(tokens[:-n_tokens], len(tokens)):
            self._context.synchronize()
        times = []
        for position in range(len(tokens) - n_tokens, len(tokens)):
            begun = time.perf_counter()
            self._batch.clear()
            self._batch.add(0, position, tokens[position : position + 1], outputs=1)
            self._decode()
            self._context.synchronize()
            times.append(time.perf_counter() - begun)
        return times

    def _decode(self) -> None:
        if not self._context.decode(self._batch):
            raise EngineError("llama.cpp ended a batch early", path=self.model.path)

    def _batches(self, tokens: Sequence[int], first: int) -> Iterator[tuple[int, int]]:
        """Compute a chunk in batches; yield the tokens of each, and how many of the last ones have logits."""
        self._context.clear()
        for start in range(0, len(tokens), self._batch.capacity):
            part = tokens[start : start + self._batch.capacity]
            n_outputs = max(0, min(len(part), start + len(part) - first))
            self._batch.clear()
            self._batch.add(0, start, part, outputs=n_outputs)
            self._decode()
            yield len(part), n_outputs


@contextmanager
def open_chunk_model(
    path: Path,
    options: EngineOptions,
    chunk_tokens: int,
    observer: Observer | None = None,
) -> Iterator[ChunkModel]:
    """Load a model for chunks of so many tokens; an observer sees the nodes of each batch.

    Raises GlmGgufError for a file or options that cannot be used.
    """
    file = ModelFile.open(path, options.lora)
    options = replace(options, n_ctx=chunk_tokens, n_parallel=1, n_host_cache=0, draft=0, draft_model=None)
    callback = None if observer is None else EvaluationCallback(observer)
    with borrowed(options.workers) as workers:
        plan = _plan(file, options, Machine.here(options, workers))
        with (
            ModelHandle(file, plan) as model,
            Context(model, plan, n_outputs=plan.batches.alone, callback=callback) as context,
        ):
            yield ChunkModel(model, context)


def _plan(file: ModelFile, options: EngineOptions, machine: Machine) -> LoadPlan:
    """Plan with less memory than the machine has: the logits of whole batches take the rest."""
    if machine.memory is not None:
        n_batch = LoadPlan.estimate(file.contents, options, machine).batches.alone
        n_vocab = len(texts(file.metadata, "tokenizer.ggml.tokens") or ())
        logits = LOGITS_COPIES * n_batch * n_vocab * np.dtype(np.float32).itemsize
        machine = replace(machine, memory=max(machine.memory - logits, 0))
    return LoadPlan.of(file.contents, options, machine)
