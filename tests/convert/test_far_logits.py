"""A question far behind its text computes what transformers computes: the bases of the models of 2024 are right.

scripts/record_far_logits.py recorded the goldens; the tests make the checkpoints again from shape, seed and scale.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as api
import numpy as np
import pytest
from checkpoints import Shape, write_checkpoint
from checkpoints_2024 import write_chatglm_form
from damage import choose

from glm_gguf.convert import convert

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "far_logits"
BOUND = 1e-4  # as near the beginning (test_logits)
TEXT, BETWEEN, QUESTION = 0, 1, 2  # the sequences


@dataclass(frozen=True)
class Golden:
    """transformers' logits of the question, and what they are of."""

    about: dict[str, Any]
    far: int
    """Position of the question's first token."""
    ids: np.ndarray
    logits: np.ndarray

    @classmethod
    def read(cls, name: str) -> Golden:
        with np.load(GOLDEN / f"{name}.npz") as file:
            return cls(json.loads(str(file["about"])), int(file["far"]), file["ids"], file["logits"])

    def write(self, directory: Path, **extra: object) -> Path:
        """Make the checkpoint again, with other fields in config.json."""
        shape = Shape(**self.about["shape"])
        shape = replace(shape, extra={**shape.extra, **extra})
        source = write_checkpoint(directory, shape, seed=self.about["seed"], scale=self.about["scale"])
        found = hashlib.sha256((source / "model.safetensors").read_bytes()).hexdigest()
        assert found == self.about["sha256"], "numpy or checkpoints.py make other weights now: record the logits again"
        return source


@api.llama_log_callback
def _quiet(_level: int, _text: bytes, _data: object) -> None:
    pass


@contextmanager
def context_of(gguf: Path) -> Iterator[api.llama_context_p]:
    """A context of three sequences in one f32 cache."""
    api.llama_log_set(_quiet, None)
    model = api.llama_model_load_from_file(str(gguf).encode(), api.llama_model_default_params())
    assert model, "llama.cpp does not load the model"
    params = api.llama_context_default_params()
    params.n_ctx, params.n_seq_max, params.kv_unified = 256, 3, True
    params.n_threads = params.n_threads_batch = 1
    params.type_k = params.type_v = 0  # GGML_TYPE_F32
    params.flash_attn_type = api.LLAMA_FLASH_ATTN_TYPE_DISABLED
    context = api.llama_init_from_model(model, params)
    assert context, "llama.cpp makes no context"
    try:
        yield context
    finally:
        api.llama_free(context)
        api.llama_model_free(model)


def decode(context: api.llama_context_p, ids: Sequence[int], start: int, sequence: int) -> None:
    batch = api.llama_batch_init(len(ids), 0, 1)
    batch.n_tokens = len(ids)
    for number, id_ in enumerate(ids):
        batch.token[number], batch.pos[number] = int(id_), start + number
        batch.n_seq_id[number], batch.seq_id[number][0] = 1, sequence
        batch.logits[number] = True
    assert api.llama_decode(context, batch) == 0
    api.llama_batch_free(batch)


def question_logits(golden: Golden, gguf: Path) -> np.ndarray:
    """Logits of the question, which sees the text and the token between, (tokens, vocabulary)."""
    n_question = len(golden.logits)
    text, between, question = np.split(golden.ids, [-n_question - 1, -n_question])
    with context_of(gguf) as context:
        memory = api.llama_get_memory(context)
        decode(context, text, 0, TEXT)
        decode(context, between, golden.far - 1, BETWEEN)
        for sequence in (TEXT, BETWEEN):
            api.llama_memory_seq_cp(memory, sequence, QUESTION, -1, -1)
        decode(context, question, golden.far, QUESTION)
        first = ctypes.cast(api.llama_get_logits(context), ctypes.POINTER(ctypes.c_float))
        return np.ctypeslib.as_array(first, golden.logits.shape).copy()


def deviation(golden: Golden, source: Path) -> float:
    """The largest difference, as a part of the largest logit."""
    (gguf,) = convert(source, source.parent / f"{source.name}.gguf", choose("F32"))
    return float(np.abs(question_logits(golden, gguf) - golden.logits).max() / np.abs(golden.logits).max())


@pytest.mark.parametrize("case", ["chat", "chat-1m"])
def test_a_question_36_000_tokens_behind_its_text_is_computed_as_by_transformers(case: str, tmp_path: Path) -> None:
    golden = Golden.read(case)
    assert golden.far == 36_000
    source = golden.write(tmp_path / "hf")
    assert deviation(golden, source) < BOUND
    assert deviation(golden, write_chatglm_form(tmp_path / "own", source)) < BOUND


@pytest.mark.parametrize("case", ["chat", "chat-1m"])
def test_with_the_stock_converters_base_the_logits_are_others(case: str, tmp_path: Path) -> None:
    golden = Golden.read(case)
    assert deviation(golden, golden.write(tmp_path / "hf", rope_theta=10_000.0)) > 100 * BOUND
