"""The fields of config.json for transformers' classes of GLM, in the flat form and in that of transformers 5."""

from __future__ import annotations

from typing import Any

from glm_gguf.architectures import CHATGLM, GLM4
from glm_gguf.convert.source.config_fields import ConfigFields
from glm_gguf.convert.source.family_names import GLM4_NAMES, GLM_NAMES, FamilyNames
from glm_gguf.convert.source.json_file import short_repr
from glm_gguf.convert.source.model_config import ModelConfig, RopeScaling
from glm_gguf.errors import ConfigError

LLAMA_YARN = {"beta_fast": 32, "beta_slow": 1, "truncate": True, "mscale": None, "mscale_all_dim": None}
"""YaRN parameters for which llama.cpp has no key: only these values can be converted."""


def read_glm4(fields: ConfigFields) -> ModelConfig:
    """Read Glm4ForCausalLM's fields; raises ConfigError."""
    return _read(fields, GLM4, GLM4_NAMES)


def read_glm(fields: ConfigFields) -> ModelConfig:
    """Read GlmForCausalLM's fields; raises ConfigError.

    partial_rotary_factor may be missing: the first releases of the class rotated one half of a head, whatever it was.
    """
    return _read(fields, CHATGLM, GLM_NAMES, rotated=0.5)


def _read(fields: ConfigFields, architecture: str, names: FamilyNames, rotated: float | None = None) -> ModelConfig:
    activation = fields.raw.get("hidden_act", "silu")
    if activation != "silu":
        raise ConfigError(
            f"hidden_act is {short_repr(activation)}, llama.cpp's {architecture} graph computes silu", path=fields.where
        )
    rope = ConfigFields(_rope_parameters(fields), fields.where)
    heads, hidden = fields.natural("num_attention_heads"), fields.natural("hidden_size")
    scaling = _rope_scaling(rope)
    return ModelConfig(
        architecture=architecture,
        names=names,
        hidden_size=hidden,
        intermediate_size=fields.natural("intermediate_size"),
        n_layers=fields.natural("num_hidden_layers"),
        n_heads=heads,
        n_kv_heads=fields.natural("num_key_value_heads", heads),
        head_dim=fields.natural("head_dim", hidden // heads),
        vocab_size=fields.natural("vocab_size"),
        max_position=_stretched(fields.natural("max_position_embeddings"), scaling),
        rms_norm_eps=fields.positive("rms_norm_eps"),
        rope_theta=rope.positive("rope_theta"),
        partial_rotary_factor=rope.positive("partial_rotary_factor", rotated),
        attention_bias=fields.boolean("attention_bias"),
        tied=fields.boolean("tie_word_embeddings", False),
        rope_scaling=scaling,
    )


def _rope_parameters(fields: ConfigFields) -> dict[str, Any]:
    """The RoPE fields of either form: flat (official) or under `rope_parameters` (transformers 5)."""
    raw = fields.raw
    form = next((key for key in ("rope_parameters", "rope_scaling") if raw.get(key)), None)
    nested = {} if form is None else raw[form]
    if not isinstance(nested, dict):
        raise ConfigError(f"{form} is {short_repr(nested)}, a JSON object is needed", path=fields.where)
    flat = {key: raw.get(key) for key in ("rope_theta", "partial_rotary_factor")}
    return flat | {key: value for key, value in nested.items() if value is not None}


def _stretched(stated: int, scaling: RopeScaling | None) -> int:
    """The context in tokens: with YaRN as long as it makes the original one, for cards add YaRN's fields alone."""
    if scaling is None or scaling.original_context is None:
        return stated
    return max(stated, min(int(scaling.original_context * scaling.factor), 2**31 - 1))


def _rope_scaling(rope: ConfigFields) -> RopeScaling | None:
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
                fix=f"llama.cpp always computes with {short_repr(value)}: only that value can be converted",
            )
    return RopeScaling(
        "yarn",
        factor=rope.positive("factor"),
        original_context=rope.natural("original_max_position_embeddings"),
        attention_factor=rope.optional("attention_factor"),
    )
