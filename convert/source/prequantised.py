"""Refuse checkpoints of quantised weights, and name their quantiser; FP8 is read (fp8)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from glm_gguf.convert.source.json_file import short_repr
from glm_gguf.convert.source.safetensors_file import StoredTensor
from glm_gguf.convert.source.source import Source
from glm_gguf.errors import ConfigError, SourceError

SIGNS: Mapping[str, str] = {
    r"\.(absmax|nested_absmax|quant_map|nested_quant_map|SCB)$|\.quant_state\.": "bitsandbytes",
    r"\.weight_packed$": "compressed-tensors",
    r"\.g_idx$": "GPTQ",
    r"\.(qweight|qzeros)$": "AWQ or GPTQ",
    r"_blocks$": "MXFP4",
    r"\.(q_weight|q_scale|q_groups|q_invperm)$": "EXL2",
    r"\.(trellis|suh|svh)$": "EXL3",
    r"\.W_q$": "HQQ",
    r"\.(codes|codebooks)$": "AQLM",
    r"\.weight[.:]_(data|scale)$": "quanto or torchao",
    r"\.scales$": "MLX",
}
"""Names of tensors beside quantised weights → the quantiser that writes them; the first match counts."""

SMALL: Mapping[str, str] = {
    **dict.fromkeys(("F8_E4M3FNUZ", "F8_E5M2FNUZ"), "FP8 of AMD's GPUs"),
    **{"F6_E2M3": "FP6", "F6_E3M2": "FP6", "F4": "FP4"},
    **dict.fromkeys(("I8", "U8", "I32", "U32"), "a tool that packs weights"),
}
"""Types of integers and small floats → the quantisers that write them."""

METHODS: Mapping[str, str] = {"fp8": "FP8", "mxfp4": "MXFP4", "gptq": "GPTQ", "awq": "AWQ"}
FIX = "convert the original with 16-bit weights; of a fine-tune, save the merge in 16 bits"
WAYS_OUT: Mapping[str, str] = {
    "bitsandbytes": "or load it with transformers, call dequantize() and save_pretrained(), and convert that",
    "MLX": "or write 16 bits with mlx_lm.convert --dequantize, and convert that",
}
"""Quantiser → how its weights become 16 bits again."""


def refuse_quantised(source: Source, tensors: Iterable[StoredTensor]) -> None:
    """Raise SourceError if the tensors show that this is no checkpoint of bf16, f16 or f32 weights.

    config.json alone decides nothing: a model that was dequantised and saved keeps its entry.
    """
    sign = _sign(tuple(tensors))
    if sign is not None:
        raise _quantised(source, *sign)


def refuse_stated(source: Source, odd: StoredTensor) -> None:
    """Raise SourceError for a tensor that no such model has if config.json states a quantiser that may write it."""
    stated = _quantiser_in_config(quantisation_config(source))
    if stated not in (None, METHODS["fp8"]) and "lora_" not in odd.name:
        raise _quantised(source, odd, str(stated))


def _quantised(source: Source, odd: StoredTensor, by: str) -> SourceError:
    """The error about a tensor that a quantiser writes: the one that config.json states, or `by`."""
    stated = _quantiser_in_config(quantisation_config(source))
    found = f"it holds {short_repr(odd.name)} ({odd.dtype})"
    if stated is None:
        what = f"this checkpoint is quantised already, by its tensors' names with {by}: {found}"
    else:
        what = f"this checkpoint is quantised already, by {stated} (config.json, quantization_config): {found}"
    out = WAYS_OUT.get(by if stated is None else stated)
    return SourceError(what, path=source.where, fix=FIX if out is None else f"{FIX}; {out}")


def _sign(tensors: Sequence[StoredTensor]) -> tuple[StoredTensor, str] | None:
    """A tensor that no unquantised checkpoint has, and the quantiser that writes it."""
    for pattern, name in SIGNS.items():
        for tensor in tensors:
            if re.search(pattern, tensor.name):
                return tensor, name
    for tensor in tensors:
        if tensor.name.endswith(".weight") and tensor.dtype in SMALL:
            return tensor, SMALL[tensor.dtype]
    return None


def quantisation_config(source: Source) -> dict[str, Any]:
    """What config.json says of a quantisation; empty where it says nothing."""
    config = source.file("config.json").read_object(ConfigError)
    stated = config.get("quantization_config") or config.get("quantization")
    return stated if isinstance(stated, dict) else {}


def _quantiser_in_config(stated: dict[str, Any]) -> str | None:
    """The quantiser that config.json names; MLX names none."""
    method = stated.get("quant_method")
    if isinstance(method, str):
        return METHODS.get(method, method if method.isprintable() else short_repr(method))[:80]
    if any(str(key).startswith(("load_in_", "bnb_")) for key in stated):
        return "bitsandbytes"
    return "MLX" if "group_size" in stated else None
