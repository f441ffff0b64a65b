"""Logits as llama.cpp computes them, through its C API alone."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import llama_cpp.llama_cpp as api
import numpy as np

GGML_TYPE_F32, GGML_TYPE_F16 = 0, 1  # enum ggml_type of ggml.h


@api.llama_log_callback
def _quiet(_level: int, _text: bytes, _data: object) -> None:
    pass


@contextmanager
def context_of(gguf: Path, cache: int, adapters: Mapping[Path, float] | None = None) -> Iterator[api.llama_context_p]:
    """A context of 768 tokens without flash attention, its KV cache of the given type, with LoRA adapters at scales."""
    api.llama_log_set(_quiet, None)
    model = api.llama_model_load_from_file(str(gguf).encode(), api.llama_model_default_params())
    assert model, "llama.cpp does not load the model"
    params = api.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch = 768, 768, 512
    params.n_threads = params.n_threads_batch = 1
    params.type_k = params.type_v = cache
    params.flash_attn_type = api.LLAMA_FLASH_ATTN_TYPE_DISABLED
    context = api.llama_init_from_model(model, params)
    assert context, "llama.cpp makes no context"
    apply(adapters or {}, model, context)
    try:
        yield context
    finally:
        api.llama_free(context)
        api.llama_model_free(model)


def apply(adapters: Mapping[Path, float], model: api.llama_model_p, context: api.llama_context_p) -> None:
    """Load adapters with llama.cpp's own loader."""
    loaded = [api.llama_adapter_lora_init(model, str(path).encode()) for path in adapters]
    assert all(loaded), "llama.cpp does not load the adapter"
    pointers = (api.llama_adapter_lora_p_ctypes * len(loaded))(*loaded)
    scales = (ctypes.c_float * len(loaded))(*adapters.values())
    assert api.llama_set_adapters_lora(context, pointers, len(loaded), scales) == 0


def logits_of(context: api.llama_context_p, ids: np.ndarray, step: int) -> np.ndarray:
    """Evaluate a prompt, `step` tokens a batch; logits of every position, (tokens, vocabulary)."""
    api.llama_memory_clear(api.llama_get_memory(context), True)
    batch = api.llama_batch_init(step, 0, 1)
    starts = range(0, len(ids), step)
    logits = np.concatenate([decoded(context, batch, ids[start : start + step], start) for start in starts])
    api.llama_batch_free(batch)
    return logits


def decoded(context: api.llama_context_p, batch: api.llama_batch, ids: np.ndarray, start: int) -> np.ndarray:
    """Logits of the tokens of one batch, the first of which has position `start`."""
    batch.n_tokens = len(ids)
    for number, id_ in enumerate(ids):
        batch.token[number], batch.pos[number] = int(id_), start + number
        batch.n_seq_id[number], batch.seq_id[number][0] = 1, 0
        batch.logits[number] = True
    assert api.llama_decode(context, batch) == 0
    n_vocab = api.llama_vocab_n_tokens(api.llama_model_get_vocab(api.llama_get_model(context)))
    first = ctypes.cast(api.llama_get_logits(context), ctypes.POINTER(ctypes.c_float))
    return np.ctypeslib.as_array(first, (len(ids), n_vocab)).copy()
