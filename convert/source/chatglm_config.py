"""The fields of config.json for ChatGLMModel, the form in which the models of 2024 were published first."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from glm_gguf.architectures import CHATGLM
from glm_gguf.convert.source.config_fields import FLOAT32, ConfigFields
from glm_gguf.convert.source.family_names import CHATGLM_NAMES
from glm_gguf.convert.source.json_file import short_repr
from glm_gguf.convert.source.model_config import ModelConfig
from glm_gguf.errors import ConfigError

ROPE_BASE = 10_000.0
"""RotaryEmbedding of modeling_chatglm; rope_ratio multiplies it."""

ONE_GRAPH: Mapping[str, bool] = {
    "rmsnorm": True,
    "post_layer_norm": True,
    "apply_residual_connection_post_layernorm": False,
    "original_rope": True,
    "add_bias_linear": False,
}
"""Fields that change the graph → the value that llama.cpp's chatglm computes; ChatGLMConfig's default too."""

TRAINING: Mapping[str, str] = {
    "pre_seq_len": "the prefix of P-Tuning v2 has no place in a GGUF",
    "quantization_bit": "convert the original with 16-bit weights",
}
"""Fields that must be absent or 0 → what to do."""

VISION = re.compile(CHATGLM_NAMES.ignored.pattern + r"|transformer\.vision\..+")
"""GLM-4V's image tower beside the rotary frequencies."""


def read_chatglm(fields: ConfigFields) -> ModelConfig:
    """Read ChatGLMConfig's fields, those of the text model; raises ConfigError for another graph."""
    for field, value in ONE_GRAPH.items():
        if fields.boolean(field, value) is not value:
            what = f"{field} is {str(not value).lower()}, llama.cpp's {CHATGLM} graph needs {str(value).lower()}"
            raise ConfigError(what, path=fields.where)
    for field, fix in TRAINING.items():
        if fields.raw.get(field):
            raise ConfigError(f"{field} is {short_repr(fields.raw[field])}", path=fields.where, fix=fix)
    layers, heads = fields.natural("num_layers"), fields.natural("num_attention_heads")
    if fields.natural("num_hidden_layers", layers) != layers:
        what = f"num_layers is {layers}, num_hidden_layers {fields.raw['num_hidden_layers']}"
        raise ConfigError(what, path=fields.where, fix="they count the same layers: correct the wrong one")
    ratio = fields.positive("rope_ratio", 1)
    if ratio * ROPE_BASE > FLOAT32[1]:
        raise ConfigError(f"rope_ratio is {ratio:g}, and its base is no float32", path=fields.where)
    grouped = fields.boolean("multi_query_attention", False)
    return ModelConfig(
        architecture=CHATGLM,
        names=CHATGLM_NAMES if fields.raw.get("vision_config") is None else replace(CHATGLM_NAMES, ignored=VISION),
        hidden_size=fields.natural("hidden_size"),
        intermediate_size=fields.natural("ffn_hidden_size"),
        n_layers=layers,
        n_heads=heads,
        n_kv_heads=fields.natural("multi_query_group_num") if grouped else heads,
        head_dim=fields.natural("kv_channels"),
        vocab_size=fields.natural("padded_vocab_size"),
        max_position=fields.natural("seq_length"),
        rms_norm_eps=fields.positive("layernorm_epsilon"),
        rope_theta=ROPE_BASE * ratio,
        partial_rotary_factor=0.5,  # rotary_dim // 2 of modeling_chatglm
        attention_bias=fields.boolean("add_qkv_bias"),
        tied=fields.boolean("tie_word_embeddings", False),
        rope_scaling=None,
    )
