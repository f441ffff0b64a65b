"""The four variants of GLM-4-0414, and the sampling that their model cards advise.

The chat template tells them apart; config.json does not (those of 9B and Z1-9B are byte-identical).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from glm_gguf.special_tokens import OPEN_THOUGHT


class Variant(StrEnum):
    """The training of a checkpoint, which decides its template, sampling and output form."""

    CHAT = "chat"
    Z1 = "Z1"
    RUMINATION = "Rumination"
    BASE = "base"


@dataclass(frozen=True, slots=True)
class SamplingAdvice:
    """The sampling that a model card advises; None if it advises nothing. Source: the official model cards."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None


ADVICE: dict[Variant, SamplingAdvice] = {
    Variant.CHAT: SamplingAdvice(),
    Variant.Z1: SamplingAdvice(temperature=0.6, top_p=0.95, top_k=40),
    Variant.RUMINATION: SamplingAdvice(temperature=0.95, top_p=0.7),
    Variant.BASE: SamplingAdvice(),
}


def detect_variant(chat_template: str | None) -> Variant:
    """Tell the variant by its chat template: a research prompt, an opened thought, or neither."""
    if not chat_template:
        return Variant.BASE
    if "深度研究助手" in chat_template:
        return Variant.RUMINATION
    _, _, generation_prompt = chat_template.rpartition("add_generation_prompt")
    return Variant.Z1 if OPEN_THOUGHT in generation_prompt else Variant.CHAT
