"""The values that a conversion needs from a config.json, the same for every family."""

from __future__ import annotations

from dataclasses import dataclass

from glm_gguf.architectures import CHATGLM
from glm_gguf.convert.source.family_names import FamilyNames
from glm_gguf.errors import ConfigError

MAX_LAYERS = 512  # LLAMA_MAX_LAYERS in llama.cpp
MAX_VOCAB = 2**24


@dataclass(frozen=True, slots=True)
class RopeScaling:
    """Linear or YaRN extension of the context by `factor`; `original_context` in tokens (YaRN)."""

    kind: str
    factor: float
    original_context: int | None = None
    attention_factor: float | None = None
    """YaRN's scale of queries times keys, if it is not 1 + 0.1 ln(factor)."""


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Sizes in elements, context in tokens; `architecture` decides everything that sizes do not."""

    architecture: str
    """llama.cpp's name of the graph (general.architecture): glm4 or chatglm."""
    names: FamilyNames
    """What the checkpoint calls its tensors."""
    hidden_size: int
    intermediate_size: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    vocab_size: int
    max_position: int
    rms_norm_eps: float
    rope_theta: float
    partial_rotary_factor: float
    attention_bias: bool
    tied: bool
    rope_scaling: RopeScaling | None

    @property
    def rope_dimensions(self) -> int:
        """How many of a head's dimensions are rotated: 64 of 128 in the official models."""
        return int(self.head_dim * self.partial_rotary_factor)


def check_sizes(config: ModelConfig, where: str) -> None:
    """Raise ConfigError for combinations that llama.cpp's graph of the architecture cannot compute."""
    if config.n_layers > MAX_LAYERS or config.vocab_size > MAX_VOCAB:
        raise ConfigError(
            f"{config.n_layers} layers and {config.vocab_size} tokens exceed llama.cpp's {MAX_LAYERS} and {MAX_VOCAB}",
            path=where,
        )
    if config.n_heads % config.n_kv_heads:
        raise ConfigError(f"{config.n_heads} heads cannot be divided among {config.n_kv_heads} kv heads", path=where)
    if config.partial_rotary_factor > 1 or config.rope_dimensions % 2 or not config.rope_dimensions:
        raise ConfigError(
            f"partial_rotary_factor {config.partial_rotary_factor} of head_dim {config.head_dim} "
            "gives no even number of rotated dimensions",
            path=where,
        )
    if config.architecture == CHATGLM and config.n_heads * config.head_dim != config.hidden_size:
        raise ConfigError(
            f"{config.n_heads} heads of {config.head_dim} make {config.n_heads * config.head_dim} columns, "
            f"hidden_size is {config.hidden_size}",
            path=where,
            fix="llama.cpp's chatglm needs them equal: its output projection is square",
        )
