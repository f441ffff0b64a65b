"""Findings about keys of another type than llama.cpp reads: it refuses the file, however right the value is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from glm_gguf.gguf_file.contents import architecture
from glm_gguf.gguf_file.finding import CONVERT_AGAIN, Finding, KeyChange, problem, sets
from glm_gguf.gguf_file.values import Metadata, NumberArray, Scalar, ValueType, is_of_its_type, type_label

INTEGERS: Final = (
    *("block_count", "context_length", "embedding_length", "feed_forward_length"),
    *("attention.head_count", "attention.head_count_kv", "attention.key_length", "attention.value_length"),
    *("rope.dimension_count", "rope.scaling.original_context_length"),
)
DECIMALS: Final = ("attention.layer_norm_rms_epsilon", "rope.freq_base", "rope.scaling.factor")
TOKENS: Final = ("eos", "eot", "eom", "bos", "unknown", "padding", "fim_pad", "fim_rep", "fim_sep")
ARRAYS: Final[Mapping[str, ValueType]] = {
    "tokenizer.ggml.token_type": ValueType.INT32,
    "tokenizer.ggml.scores": ValueType.FLOAT32,
}
"""Key → the type of its items."""


def type_findings(metadata: Metadata) -> Iterator[Finding]:
    """Return a finding for each number whose type is another than llama_model_loader::get_key asks for."""
    name = architecture(metadata)
    wanted = {
        **{f"{name}.{key}": ValueType.UINT32 for key in INTEGERS},
        **{f"{name}.{key}": ValueType.FLOAT32 for key in DECIMALS},
        **{f"tokenizer.ggml.{key}_token_id": ValueType.UINT32 for key in TOKENS},
    }
    for key, kind in wanted.items():
        value = metadata.get(key)
        if isinstance(value, Scalar) and value.type is not kind:
            yield problem(f"{key} is of type {type_label(value)}, not {kind.label}", WHY, *_retyped(key, value, kind))
    for key, kind in ARRAYS.items():
        items = metadata.get(key)
        if isinstance(items, NumberArray) and items.item_type is not kind:
            yield problem(f"{key} has items of type {items.item_type.label}, not {kind.label}", WHY)


WHY: Final = "llama.cpp refuses a file with a key of another type"


def _retyped(key: str, value: Scalar, kind: ValueType) -> tuple[str, tuple[KeyChange, ...]]:
    """Say that glm-gguf mend gives a number its type, if that holds it."""
    retyped = Scalar(kind, float(value.value) if kind is ValueType.FLOAT32 else value.value)
    return sets(key, retyped) if is_of_its_type(retyped) else (CONVERT_AGAIN, ())
