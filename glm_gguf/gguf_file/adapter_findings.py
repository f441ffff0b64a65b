"""Findings of a LoRA adapter's file: what llama.cpp's loader would refuse, or scale in another way."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from typing import Final

from glm_gguf.architectures import MODELS
from glm_gguf.gguf_file.contents import Contents, architecture
from glm_gguf.gguf_file.finding import Finding, advice, problem
from glm_gguf.gguf_file.values import Metadata, Scalar, ValueType, decimal, text, type_label
from glm_gguf.source_name import MAKE_ADAPTER

ENDS: Final = (".lora_a", ".lora_b")
EMBEDDING: Final = "token_embd.weight"
ALPHA: Final = "adapter.lora.alpha"
AGAIN: Final = f"make it again: {MAKE_ADAPTER}"


def is_adapter(metadata: Metadata) -> bool:
    """Whether the file holds an adapter, and no model."""
    return text(metadata, "general.type") == "adapter"


def adapter_findings(contents: Contents) -> Iterator[Finding]:
    """By llama_adapter_lora_init_impl of llama-adapter.cpp."""
    metadata, found = contents.metadata, architecture(contents.metadata)
    if found not in MODELS:
        yield problem(f"its architecture is {found!r}", "no GLM-4 takes it", AGAIN)
    if text(metadata, "adapter.type") != "lora":
        kind = text(metadata, "adapter.type")
        yield problem(f"adapter.type is {kind!r}", "llama.cpp takes 'lora' alone", AGAIN)
    yield from alpha_findings(metadata)
    if ALPHA not in metadata or decimal(metadata, ALPHA) == 0:
        what = f"{ALPHA} is missing or 0"
        yield advice(what, "llama.cpp then multiplies by the scale of --lora alone, and not by alpha / rank", AGAIN)
    yield from _pairs(contents)


def alpha_findings(metadata: Metadata) -> Iterator[Finding]:
    """Return a finding where alpha is no number to multiply with."""
    stated = metadata.get(ALPHA)
    if stated is None:
        return
    if not isinstance(stated, Scalar) or stated.type is not ValueType.FLOAT32:
        yield problem(f"{ALPHA} is of type {type_label(stated)}, not f32", "llama.cpp ends the whole process", AGAIN)
    elif not isfinite(stated.value):
        yield problem(f"{ALPHA} is {stated.value:g}", "all that the adapter changes becomes NaN", AGAIN)


def _pairs(contents: Contents) -> Iterator[Finding]:
    shapes = {tensor.name: tensor.shape for tensor in contents.tensors}
    for name, shape in shapes.items():
        if not name.endswith(ENDS):
            yield problem(f"tensor {name!r} is no factor of LoRA", "llama.cpp refuses it, or leaves it out", AGAIN)
            continue
        base, end = name[: -len(ENDS[0])], name[-len(ENDS[0]) :]
        other = shapes.get(base + ENDS[end == ENDS[0]])
        if other is None:
            yield problem(f"tensor {name!r} stands alone", "llama.cpp refuses the file", AGAIN)
        elif end == ENDS[0] and base != EMBEDDING and shape[-1] != other[0]:
            what = f"the factors of {base!r} have ranks {shape[-1]} and {other[0]}"
            yield problem(what, "llama.cpp refuses the file", AGAIN)
