"""The variants of GLM-4, and the sampling that their model cards advise.

The architecture tells the models of 2024 from GLM-4-0414. Among these the chat template decides; config.json does not
(those of 9B and Z1-9B are byte-identical).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from glm_gguf.architectures import CHATGLM
from glm_gguf.special_tokens import END_OF_TEXT, OPEN_THOUGHT, USER

_TOOLS_OF_MESSAGE = re.compile(r"""\b(?!loop\b)[a-z_]\w*(\.tools\b|\[\s*(['"])tools\2\s*\])""")


class Variant(StrEnum):
    """The training of a checkpoint, which decides its template, sampling and output form."""

    CHAT = "chat"
    CHAT_2024 = "chat-2024"
    Z1 = "Z1"
    RUMINATION = "Rumination"
    BASE = "base"

    @property
    def thinks(self) -> bool:
        """Whether an answer begins with a thought."""
        return self in (Variant.Z1, Variant.RUMINATION)

    @property
    def eos_token(self) -> str:
        """The eos_token of the official tokenizer_config.json."""
        return USER if self is Variant.CHAT else END_OF_TEXT


@dataclass(frozen=True, slots=True)
class SamplingAdvice:
    """The sampling that a model card or generation_config.json advises; None if they advise nothing."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None


ADVICE: dict[Variant, SamplingAdvice] = {
    Variant.CHAT: SamplingAdvice(),
    Variant.CHAT_2024: SamplingAdvice(temperature=0.8, top_p=0.8),
    Variant.Z1: SamplingAdvice(temperature=0.6, top_p=0.95, top_k=40),
    Variant.RUMINATION: SamplingAdvice(temperature=0.95, top_p=0.7),
    Variant.BASE: SamplingAdvice(),
}


def detect_variant(chat_template: str | None, architecture: str | None) -> Variant:
    """Tell the variant by architecture and chat template: a research prompt, an opened thought, or neither."""
    if not chat_template:
        return Variant.BASE
    if architecture == CHATGLM:
        return Variant.CHAT_2024
    if "深度研究助手" in chat_template:
        return Variant.RUMINATION
    _, _, generation_prompt = chat_template.rpartition("add_generation_prompt")
    return Variant.Z1 if OPEN_THOUGHT in generation_prompt else Variant.CHAT


def takes_tools_from_messages(chat_template: str) -> bool:
    """Whether a template looks for tools in messages, as 2024's does, so that it never shows those beside them."""
    return _TOOLS_OF_MESSAGE.search(chat_template) is not None


def is_name_alone(chat_template: str) -> bool:
    """Whether a template shows no message: converters of 2024 wrote llama.cpp's name of one, chatglm4."""
    return "messages" not in chat_template and "{" not in chat_template
