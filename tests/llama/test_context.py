"""Batches are decoded to logits; input that would abort llama.cpp never reaches it."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import llama_cpp
import numpy as np
import pytest
from engine.conversations import EXACT, GREEDY, Bench
from loading import context_of, opened

from glm_gguf.engine.delivery import AnswerFailed
from glm_gguf.errors import EngineError
from glm_gguf.gguf_file.header import GgufHeader
from glm_gguf.llama.batch import Batch
from glm_gguf.llama.context import Context
from glm_gguf.llama.engine_options import CacheType, EngineOptions
from glm_gguf.llama.model_handle import ModelHandle
from glm_gguf.llama.sampler import Sampler

PROMPT = list(range(40, 80))


def logits(context: Context, tokens: list[int], *, sequence: int = 0) -> np.ndarray:
    batch = Batch(context.plan.batches.alone)
    row = batch.add(sequence, context.length(sequence), tokens, outputs=1)
    assert context.decode(batch)
    return context.logits(row).copy()


def test_a_copied_sequence_continues_as_the_first(context: Context) -> None:
    whole = logits(context, [*PROMPT, 7, 8])
    logits(context, PROMPT, sequence=1)
    context.copy(1, 2, len(PROMPT))
    assert np.allclose(logits(context, [7, 8], sequence=2), whole, atol=0.05)
    assert context.length(1) == len(PROMPT)
    context.truncate(1, 0)
    assert context.length(1) == 0
    assert context.length(2) == len(PROMPT) + 2


def test_a_state_continues_as_the_first(context: Context) -> None:
    logits(context, PROMPT, sequence=1)
    state = context.state(1)
    whole = logits(context, [7, 8], sequence=1)
    context.restore(2, state)
    assert np.allclose(logits(context, [7, 8], sequence=2), whole, atol=1e-4)


@pytest.mark.parametrize("state", [b"", b"x" * 100], ids=["empty", "garbage"])
def test_a_foreign_state_is_refused(context: Context, state: bytes) -> None:
    with pytest.raises(EngineError, match="refused"):
        context.restore(2, state)


@pytest.mark.parametrize("count", [0, 17], ids=["nothing", "too much"])
def test_a_batch_takes_what_fits(count: int) -> None:
    with pytest.raises(EngineError, match="do not fit"):
        Batch(16).add(0, 0, [1] * count, outputs=1)


def test_an_empty_batch_is_refused(context: Context) -> None:
    with pytest.raises(EngineError, match="batch of 0"):
        context.decode(Batch(16))


@pytest.mark.parametrize("equals", [(), (3, 90), (90, 3, 50)], ids=["one", "two highest", "three highest"])
def test_the_highest_logit_is_the_one_llama_cpp_chooses(
    model: ModelHandle, context: Context, equals: tuple[int, ...]
) -> None:
    logits(context, PROMPT)
    row = len(PROMPT) - 1
    highest = context.logits(row)
    highest[list(equals)] = highest.max() + 1
    ours = Sampler(GREEDY, model.vocabulary)
    theirs = llama_cpp.llama_sampler_init_greedy()
    try:
        assert ours.takes_highest
        assert context.sample(ours, row, highest) == llama_cpp.llama_sampler_sample(theirs, context.pointer, row)
    finally:
        ours.close()
        llama_cpp.llama_sampler_free(theirs)


def test_there_are_no_logits_before_a_batch(context: Context) -> None:
    with pytest.raises(EngineError, match="no logits"):
        context.logits(0)


def test_an_abort_ends_the_next_decode(context: Context) -> None:
    batch = Batch(64)
    batch.add(0, 0, PROMPT, outputs=1)
    context.abort()
    assert not context.decode(batch)
    context.resume()
    assert context.decode(batch)


def test_a_closed_context_cannot_be_used(model: ModelHandle) -> None:
    context = context_of(model, EngineOptions(threads=1))
    context.close()
    context.close()
    with pytest.raises(EngineError, match="closed"):
        context.length(0)


def test_a_model_that_computes_nan_is_an_error(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    path = tmp_path / "nan.gguf"
    shutil.copy(tiny_gguf("BF16"), path)  # quantised kernels round NaN away
    header = GgufHeader.read(path)
    norm = next(tensor for tensor in header.tensors if tensor.name == "output_norm.weight")
    with path.open("r+b") as stream:
        stream.seek(norm.offset)
        stream.write(np.full(norm.shape[0], np.nan, "<f4").tobytes())
    options = EngineOptions(threads=1, n_ctx=64)
    with opened(path, options) as handle, Bench(handle, options) as bench:
        end = bench.answer([1, 2, 3]).end
        assert isinstance(end, AnswerFailed)
        assert "NaN" in str(end.error)


VARIANTS = {
    "quantised keys and values": {"cache_type_k": CacheType.Q8_0, "cache_type_v": CacheType.Q8_0},
    "no flash attention": {"flash_attention": False},
    "flash attention": {"flash_attention": True},
    "no mmap": {"mmap": False},
    "YaRN": {"yarn": 4.0, "n_ctx": 2048},
    "small batches": {"n_batch": 16},
    "threads for prompts": {"threads_batch": 2},
}


@pytest.mark.parametrize("fields", VARIANTS.values(), ids=VARIANTS.keys())
def test_every_option_gives_an_answer(model: ModelHandle, fields: dict[str, object]) -> None:
    options = replace(EXACT, **({"flash_attention": None} | fields))  # type: ignore[arg-type]
    with Bench(model, options) as bench:
        assert len(bench.answer(PROMPT, replace(GREEDY, max_tokens=5)).tokens) == 5


def test_yarn_stretches_the_longest_conversation(model: ModelHandle) -> None:
    known = context_of(model, EngineOptions(threads=1)).plan.size.n_ctx
    with context_of(model, EngineOptions(threads=1, yarn=4, n_ctx=3 * known)) as context:
        assert context.plan.size.n_ctx == 3 * known
