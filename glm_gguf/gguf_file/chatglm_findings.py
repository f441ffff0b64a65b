"""Findings about keys that llama.cpp's converter gets wrong for the GLM-4 models of 2024.

It reads seq_length, layernorm_epsilon and rope_ratio, which transformers' form of these models does not have, and puts
its own defaults in their place: the hidden size, 1e-5 and 10,000.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from glm_gguf.architectures import CHATGLM
from glm_gguf.gguf_file.contents import TEMPLATE_KEY, is_edge, kv_heads, model_integer
from glm_gguf.gguf_file.finding import CONVERT_AGAIN, Finding, KeyChange, advice, problem, sets
from glm_gguf.gguf_file.values import Metadata, Scalar, ValueType, decimal, text

NINE_B: Final = (40, 4096)
"""Layers and embedding length of every official GLM-4 of 2024; GLM-Edge has others."""
LAYERS_OF_32B: Final = 61
EPSILON: Final = 1.5625e-07
"""Of every GLM-4 of 2024 (layernorm_epsilon)."""
STOCK_EPSILON: Final = 1e-5
STOCK_BASE: Final = 10_000.0
SHORT_CONTEXT: Final = 8192
"""Of GLM-4-9B and GLM-4V-9B, whose base is 10,000."""
CONTEXT_OF_CHAT: Final = 131_072
CONTEXT_OF_1M: Final = 1_048_576
KV_HEADS_OF_1M: Final = 4
BASE_OF_CHAT: Final = 5e6
BASE_OF_1M: Final = 1e8
BASES: Final = "5,000,000 in GLM-4-9B-Chat, 100,000,000 in -Chat-1M"


def chatglm_findings(metadata: Metadata) -> Iterator[Finding]:
    """All findings about keys of a chatglm model."""
    layers, width = model_integer(metadata, "block_count"), model_integer(metadata, "embedding_length")
    if layers == LAYERS_OF_32B:
        yield problem(
            f"the file has {layers} layers, as GLM-4-0414's 32B models, whose architecture is glm4",
            "an early converter wrote them as chatglm and dropped two norms a layer: the model computes nonsense",
        )
    yield from _context(metadata, width)
    if not is_edge(metadata):
        yield from _epsilon(metadata)
        yield from _base(metadata)


def _context(metadata: Metadata, width: int | None) -> Iterator[Finding]:
    context = model_integer(metadata, "context_length")
    if context is not None and context == width:
        yield problem(
            f"{CHATGLM}.context_length is {context}, the embedding length",
            "llama.cpp's converter writes it where config.json has no seq_length; the model reads more",
            *_trained_context(metadata),
        )


def _trained_context(metadata: Metadata) -> tuple[str, tuple[KeyChange, ...]]:
    """Say that glm-gguf mend sets the context of a 9B in transformers' form; of GLM-Edge that is not known."""
    key, layers = f"{CHATGLM}.context_length", model_integer(metadata, "block_count")
    if (layers, model_integer(metadata, "embedding_length")) != NINE_B:
        return f"set {key} to max_position_embeddings of config.json, or {CONVERT_AGAIN}", ()
    if kv_heads(metadata) == KV_HEADS_OF_1M:
        return sets(key, Scalar(ValueType.UINT32, CONTEXT_OF_1M))
    return sets(key, Scalar(ValueType.UINT32, CONTEXT_OF_CHAT if text(metadata, TEMPLATE_KEY) else SHORT_CONTEXT))


def _epsilon(metadata: Metadata) -> Iterator[Finding]:
    key = f"{CHATGLM}.attention.layer_norm_rms_epsilon"
    if _has_stock_epsilon(metadata):
        yield problem(
            f"{key} is 1e-05, the default of llama.cpp's converter",
            "the checkpoints have 1.5625e-07; all norms differ from training",
            *sets(key, Scalar(ValueType.FLOAT32, EPSILON)),
        )


def _has_stock_epsilon(metadata: Metadata) -> bool:
    epsilon = decimal(metadata, f"{CHATGLM}.attention.layer_norm_rms_epsilon")
    return epsilon is not None and math.isclose(epsilon, STOCK_EPSILON, rel_tol=1e-3)


def _base(metadata: Metadata) -> Iterator[Finding]:
    """A finding where a model that reads long texts has the base of a short one.

    Of other sizes than the official ones the base is not known, and a model of somebody's own may have this one.
    """
    key = f"{CHATGLM}.rope.freq_base"
    base, context = decimal(metadata, key), model_integer(metadata, "context_length")
    if base is not None and base > STOCK_BASE:
        return
    what = f"{key} is {'missing' if base is None else f'{base:,.0f}'}, the default of llama.cpp's converter"
    why = f"it is {BASES}: with another, the model loses track of long texts"
    long = bool(text(metadata, TEMPLATE_KEY)) and context != SHORT_CONTEXT
    width = model_integer(metadata, "embedding_length")
    if (model_integer(metadata, "block_count"), width) != NINE_B:
        fix = f"set {key} to rope_theta of config.json, or {CONVERT_AGAIN}"
        if long:
            stock = _has_stock_epsilon(metadata) or context == width
            yield (problem if stock else advice)(what, why, fix)
    elif long or kv_heads(metadata) == KV_HEADS_OF_1M:
        right = BASE_OF_1M if kv_heads(metadata) == KV_HEADS_OF_1M else BASE_OF_CHAT
        yield problem(what, why, *sets(key, Scalar(ValueType.FLOAT32, right)))
