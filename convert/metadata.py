"""The key-values of the GGUF: those of llama.cpp's converter, and those that it lacks for this family.

Keys that depend on the type come last, in llama_model_quantize's order: whole files can be equal.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from math import log

from gguf import GGML_QUANT_VERSION, GGUFValueType, GGUFWriter, Keys, Metadata, RopeScalingType
from gguf.gguf_writer import GGUFValue

from glm_gguf.architectures import CHATGLM
from glm_gguf.convert.recipe.file_types import FileType
from glm_gguf.convert.recipe.imatrix import Imatrix
from glm_gguf.convert.source.model_config import ModelConfig, RopeScaling
from glm_gguf.convert.token_table import TokenTable
from glm_gguf.errors import RequestError
from glm_gguf.gguf_file.values import NumberArray, Scalar, Text, TextArray, Value, ValueType
from glm_gguf.variant import Variant

KeyValues = Mapping[str, Value]


def model_keys(card: Metadata, config: ModelConfig, table: TokenTable) -> KeyValues:
    """The keys that do not depend on the type, in the order they are written, with their GGUF types."""
    logging.getLogger("gguf.gguf_writer").setLevel(logging.WARNING)
    writer = GGUFWriter(None, config.architecture)  # never opened: it collects and types the keys
    writer.add_type("model")
    card.set_gguf_meta_model(writer)
    _add_model(writer, config)
    _add_tokens(writer, table)
    return {key: _value(value) for key, value in writer.kv_data[0].items()}


def type_keys(file: FileType, imatrix: Imatrix | None) -> KeyValues:
    """The keys that depend on the type, in the order they are written."""
    writer = GGUFWriter(None, "")
    writer.kv_data[0].clear()
    _add_types(writer, file, imatrix)
    return {key: _value(value) for key, value in writer.kv_data[0].items()}


def _value(value: GGUFValue) -> Value:
    """A key's value as the reader has it; gguf-py takes the type of a list from its first item."""
    if value.type == GGUFValueType.STRING:
        return Text(value.value)
    if value.type != GGUFValueType.ARRAY:
        return Scalar(ValueType(value.type), value.value)
    kind = ValueType(value.sub_type or GGUFValueType.get_type(value.value[0]))
    return TextArray(tuple(value.value)) if kind is ValueType.STRING else NumberArray(kind, tuple(value.value))


def yarn_scaling(config: ModelConfig, variant: Variant, factor: float) -> RopeScaling:
    """YaRN by `factor` over the context of the training; raises RequestError if the model cannot have it."""
    if variant is Variant.RUMINATION:
        raise RequestError("Rumination reads 131072 tokens natively", field="yarn", fix="leave the option out")
    if config.architecture == CHATGLM:
        what = f"a GLM-4 of 2024 was trained for its {config.max_position} tokens without YaRN, and no card advises it"
        raise RequestError(what, field="yarn", fix="leave the option out")
    if config.rope_scaling is not None:
        raise RequestError(f"config.json has {config.rope_scaling.kind} scaling already", field="yarn")
    if config.max_position * factor >= 2**31:
        raise RequestError(f"{factor:g} × {config.max_position} tokens are too many", field="yarn")
    return RopeScaling("yarn", factor, original_context=config.max_position)


def _add_model(writer: GGUFWriter, config: ModelConfig) -> None:
    writer.add_block_count(config.n_layers)
    writer.add_context_length(config.max_position)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.n_heads)
    writer.add_head_count_kv(config.n_kv_heads)
    if config.rope_scaling is not None:
        _add_rope_scaling(writer, config.rope_scaling)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    # without it llama.cpp rotates all 128 dimensions, and the model repeats nonsense
    writer.add_rope_dimension_count(config.rope_dimensions)


def _add_rope_scaling(writer: GGUFWriter, scaling: RopeScaling) -> None:
    writer.add_rope_scaling_type(RopeScalingType(scaling.kind))
    writer.add_rope_scaling_factor(scaling.factor)
    if scaling.original_context is not None:
        writer.add_rope_scaling_orig_ctx_len(scaling.original_context)
    if scaling.attention_factor is not None:
        # llama.cpp multiplies this by YaRN's own 1 + 0.1 ln(factor); transformers replaces it
        writer.add_rope_scaling_attn_factors(scaling.attention_factor / (1 + 0.1 * log(scaling.factor)))


def _add_tokens(writer: GGUFWriter, table: TokenTable) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(table.pre)
    writer.add_token_list(list(table.tokens))
    writer.add_token_types(list(table.types))
    writer.add_token_merges(list(table.merges))
    for kind, id_ in table.special_ids.items():
        writer.add_uint32(f"tokenizer.ggml.{kind}_token_id", id_)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    templates = [{"name": name, "template": text} for name, text in table.named_templates.items()]
    if table.chat_template is not None:
        templates.insert(0, {"name": "default", "template": table.chat_template})
    if templates:
        writer.add_chat_template(templates)
    names = writer.kv_data[0].get(Keys.Tokenizer.CHAT_TEMPLATES)
    if names is not None:
        names.value.sort()  # gguf-py writes them in the order of a set, another one in every run


def _add_types(writer: GGUFWriter, file: FileType, imatrix: Imatrix | None) -> None:
    writer.add_quantization_version(GGML_QUANT_VERSION)
    writer.add_file_type(file.id)
    if imatrix is not None:
        _add_imatrix(writer, imatrix)


def _add_imatrix(writer: GGUFWriter, imatrix: Imatrix) -> None:
    """The importance matrix, in llama-quantize's keys (texts cut to its 127 bytes)."""

    def text(value: str) -> str:
        return value.encode("utf-8", "replace")[:127].decode("utf-8", "ignore")

    writer.add_key_value("quantize.imatrix.file", text(str(imatrix.path)), GGUFValueType.STRING)
    if imatrix.datasets:
        writer.add_key_value("quantize.imatrix.dataset", text(imatrix.datasets[0]), GGUFValueType.STRING)
    writer.add_key_value("quantize.imatrix.entries_count", len(imatrix.entries), GGUFValueType.UINT32)
    if imatrix.n_chunks > 0:
        writer.add_key_value("quantize.imatrix.chunks_count", imatrix.n_chunks, GGUFValueType.UINT32)
