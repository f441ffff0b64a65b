"""Read and check config.json of a GLM-4-0414 checkpoint, in either form.

The defaults of transformers' Glm4Config differ from the checkpoints (eps, context length) and are not used here: the
file must state every value that matters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from glm_gguf.convert.source.json_file import short_repr
from glm_gguf.convert.source.source import Source
from glm_gguf.errors import ConfigError

ARCHITECTURE = "Glm4ForCausalLM"
MAX_LAYERS = 512  # LLAMA_MAX_LAYERS in llama.cpp
MAX_VOCAB = 2**24
FLOAT32 = (2.0**-126, 2.0**127)  # a GGUF stores float32: normal numbers only

LLAMA_YARN = {"beta_fast": 32, "beta_slow": 1, "truncate": True, "mscale": None, "mscale_all_dim": None}
"""YaRN parameters for which llama.cpp's glm4 has no key: only these values can be converted."""


@dataclass(frozen=True, slots=True)
class RopeScaling:
    """Linear or YaRN extension of the context by `factor`; `original_context` in tokens (YaRN)."""

    kind: str
    factor: float
    original_context: int | None = None
    attention_factor: float | None = None
    """YaRN's scale of queries times keys, if it is not 1 + 0.1 ln(factor)."""


@dataclass(frozen=True, slots=True)
class Glm4Config:
    """The values that a conversion needs; sizes in elements, context in tokens."""

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

    @classmethod
    def read(cls, source: Source) -> Glm4Config:
        """Read and check a checkpoint's config.json; raises ConfigError naming the field."""
        file = source.file("config.json")
        if not file.exists():
            raise ConfigError("config.json is missing", path=source.where, fix="name a checkpoint directory")
        raw, where = file.read_object(ConfigError), file.where
        nested = raw.get("text_config")
        raw = (
            {**raw, **nested, "architectures": raw.get("architectures", nested.get("architectures"))}
            if isinstance(nested, dict)
            else raw
        )
        fields = _Fields(raw, where)
        fields.check_architecture()
        rope = _Fields(_rope_parameters(raw, where), where)
        heads, hidden = fields.natural("num_attention_heads"), fields.natural("hidden_size")
        config = cls(
            hidden_size=hidden,
            intermediate_size=fields.natural("intermediate_size"),
            n_layers=fields.natural("num_hidden_layers"),
            n_heads=heads,
            n_kv_heads=fields.natural("num_key_value_heads", heads),
            head_dim=fields.natural("head_dim", hidden // heads),
            vocab_size=fields.natural("vocab_size"),
            max_position=fields.natural("max_position_embeddings"),
            rms_norm_eps=fields.positive("rms_norm_eps"),
            rope_theta=rope.positive("rope_theta"),
            partial_rotary_factor=rope.positive("partial_rotary_factor"),
            attention_bias=fields.boolean("attention_bias"),
            tied=fields.boolean("tie_word_embeddings", False),
            rope_scaling=_rope_scaling(rope),
        )
        _check_sizes(config, where)
        return config


def _check_sizes(config: Glm4Config, where: str) -> None:
    """Refuse combinations that llama.cpp's glm4 graph cannot compute."""
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


def _rope_parameters(raw: dict[str, Any], where: str) -> dict[str, Any]:
    """The RoPE fields of either form: flat (official) or under `rope_parameters` (transformers 5)."""
    form = next((key for key in ("rope_parameters", "rope_scaling") if raw.get(key)), None)
    nested = {} if form is None else raw[form]
    if not isinstance(nested, dict):
        raise ConfigError(f"{form} is {short_repr(nested)}, a JSON object is needed", path=where)
    flat = {key: raw.get(key) for key in ("rope_theta", "partial_rotary_factor")}
    return flat | {key: value for key, value in nested.items() if value is not None}


def _rope_scaling(rope: _Fields) -> RopeScaling | None:
    kind = rope.raw.get("rope_type", rope.raw.get("type", "default"))
    if kind == "default":
        return None
    if kind == "linear":
        return RopeScaling("linear", rope.positive("factor"))
    if kind != "yarn":
        raise ConfigError(
            f"rope type {short_repr(kind)} is unknown", path=rope.where, fix="default, linear and yarn are known"
        )
    for key, value in LLAMA_YARN.items():
        if rope.raw.get(key, value) not in (value, None):
            raise ConfigError(
                f"YaRN's {key} is {short_repr(rope.raw[key])}",
                path=rope.where,
                fix=f"llama.cpp's glm4 always computes with {short_repr(value)}: only that value can be converted",
            )
    return RopeScaling(
        "yarn",
        factor=rope.positive("factor"),
        original_context=rope.natural("original_max_position_embeddings"),
        attention_factor=rope.optional("attention_factor"),
    )


@dataclass(frozen=True, slots=True)
class _Fields:
    """Typed access to a JSON object; every error names the field and its value."""

    raw: dict[str, Any]
    where: str

    def check_architecture(self) -> None:
        """Accept Glm4ForCausalLM only: ChatGLM, GLM-4.5 MoE and GLM-4V have other tensors."""
        names, model_type = self.raw.get("architectures"), self.raw.get("model_type")
        if names != [ARCHITECTURE] and not (names is None and model_type == "glm4"):
            raise ConfigError(
                f"architectures is {short_repr(names)}, model_type {short_repr(model_type)}",
                path=self.where,
                fix=f"only {ARCHITECTURE} (GLM-4-0414, GLM-Z1-0414) can be converted",
            )
        activation = self.raw.get("hidden_act", "silu")
        if activation != "silu":
            raise ConfigError(
                f"hidden_act is {short_repr(activation)}, llama.cpp's glm4 graph computes silu", path=self.where
            )

    def natural(self, key: str, default: int | None = None) -> int:
        value = self._get(key, default)
        if type(value) is not int or not 0 < value < 2**31:
            raise ConfigError(f"{key} is {short_repr(value)}, a positive whole number is needed", path=self.where)
        return value

    def positive(self, key: str) -> float:
        value = self._get(key, None)
        if type(value) not in (int, float) or not FLOAT32[0] <= value <= FLOAT32[1]:
            raise ConfigError(f"{key} is {short_repr(value)}, a positive number is needed", path=self.where)
        return float(value)

    def optional(self, key: str) -> float | None:
        return None if self.raw.get(key) is None else self.positive(key)

    def boolean(self, key: str, default: bool | None = None) -> bool:
        value = self._get(key, default)
        if type(value) is not bool:
            raise ConfigError(f"{key} is {short_repr(value)}, true or false is needed", path=self.where)
        return value

    def _get(self, key: str, default: Any) -> Any:
        value = self.raw.get(key)
        if value is None and default is None:
            raise ConfigError(f"{key} is missing", path=self.where, fix="take the checkpoint's own config.json")
        return default if value is None else value
