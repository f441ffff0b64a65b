"""Short names of the official models, and the repositories that they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

DEFAULT_TYPE: Final = "Q4_K_M"
"""What is taken of a model that is there in several types, where none is named."""


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model by its short name: its repository, and what it is."""

    source: str
    about: str


KNOWN_MODELS: Final[Mapping[str, KnownModel]] = {
    "glm-4-9b": KnownModel("hf://THUDM/GLM-4-9B-0414", "chat and tool calls, 9B"),
    "glm-4-32b": KnownModel("hf://THUDM/GLM-4-32B-0414", "chat and tool calls, 32B"),
    "glm-4-32b-base": KnownModel("hf://THUDM/GLM-4-32B-Base-0414", "continues texts, 32B"),
    "glm-z1-9b": KnownModel("hf://THUDM/GLM-Z1-9B-0414", "thinks before it answers, 9B"),
    "glm-z1-32b": KnownModel("hf://THUDM/GLM-Z1-32B-0414", "thinks before it answers, 32B"),
    "glm-z1-rumination-32b": KnownModel("hf://THUDM/GLM-Z1-Rumination-32B-0414", "researches with tools, 32B"),
    "glm-4-9b-chat": KnownModel("hf://THUDM/glm-4-9b-chat", "of 2024: chat and tool calls, 9B, 128K tokens"),
    "glm-4-9b-chat-1m": KnownModel("hf://THUDM/glm-4-9b-chat-1m", "of 2024: chat, 9B, 1M tokens"),
}
"""Short name → model, as `glm-gguf pull --help` lists them."""
