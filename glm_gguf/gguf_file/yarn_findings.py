"""Findings about the keys of YaRN, which stretches the context."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from glm_gguf.architectures import GLM4
from glm_gguf.gguf_file.contents import TEMPLATE_KEY, architecture, model_integer
from glm_gguf.gguf_file.finding import CONVERT_AGAIN, Finding, KeyChange, problem, sets
from glm_gguf.gguf_file.values import Metadata, Scalar, Text, ValueType, decimal, text
from glm_gguf.variant import Variant, detect_variant

YARN: Final = "yarn"
TRAINED_CONTEXT: Final = 32_768
"""Tokens; max_position_embeddings of every GLM-4-0414 but Rumination."""
RUMINATION_CONTEXT: Final = 131_072
"""Tokens; max_position_embeddings of GLM-Z1-Rumination-32B-0414."""


def yarn_findings(metadata: Metadata) -> Iterator[Finding]:
    """All findings about YaRN's keys of a model."""
    keys = f"{architecture(metadata)}.rope.scaling"
    scaling, factor = text(metadata, f"{keys}.type"), decimal(metadata, f"{keys}.factor")
    if scaling is None and factor is not None:
        yield problem(
            f"{keys}.factor is {factor:g}, but no {keys}.type is given",
            "llama.cpp then stretches positions linearly, for which the model was not trained",
            *sets(f"{keys}.type", Text(YARN)),
        )
    if scaling != YARN:
        return
    if detect_variant(text(metadata, TEMPLATE_KEY), architecture(metadata)) is Variant.RUMINATION:
        trained = KeyChange(f"{GLM4}.context_length", Scalar(ValueType.UINT32, RUMINATION_CONTEXT))
        yield problem(
            "YaRN is switched on in a Rumination model",
            "Rumination was trained for 131,072 tokens without it; YaRN makes it worse",
            "glm-gguf mend removes its keys; or convert the checkpoint again without YaRN",
            (*_without_scaling(metadata), trained),
        )
        return
    if factor is None or model_integer(metadata, "rope.scaling.original_context_length") is None:
        yield problem(
            f"YaRN is switched on without {keys}.factor and original_context_length",
            "llama.cpp then guesses from the context length, and long texts go wrong",
            *_whole_yarn(metadata, factor),
        )


def _whole_yarn(metadata: Metadata, factor: float | None) -> tuple[str, tuple[KeyChange, ...]]:
    """Say that glm-gguf mend completes the keys of a GLM-4-0414 over the context of its training.

    It removes them where the context is not longer.
    """
    if architecture(metadata) != GLM4:
        return CONVERT_AGAIN, ()
    original = model_integer(metadata, "rope.scaling.original_context_length") or TRAINED_CONTEXT
    stretched = model_integer(metadata, "context_length") or original
    if factor is None and stretched <= original:
        return "glm-gguf mend removes YaRN's keys", _without_scaling(metadata)
    values = {
        "factor": Scalar(ValueType.FLOAT32, factor or stretched / original),
        "original_context_length": Scalar(ValueType.UINT32, original),
    }
    changes = tuple(KeyChange(f"{GLM4}.rope.scaling.{name}", value) for name, value in values.items())
    return "glm-gguf mend completes them; or convert the checkpoint again with YaRN's keys", changes


def _without_scaling(metadata: Metadata) -> tuple[KeyChange, ...]:
    keys = f"{architecture(metadata)}.rope.scaling."
    return tuple(KeyChange(key, None) for key in metadata if key.startswith(keys))
