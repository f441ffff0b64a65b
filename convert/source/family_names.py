"""What each family calls its tensors, a table a family: name in the checkpoint → names in the GGUF.

No tensor is permuted: GLM's RoPE pairs neighbours as llama.cpp's NORM type does, and checkpoints store gate and up
projections as one, gate rows first, as llama.cpp's glm4 and chatglm expect.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

Parts = tuple[str, ...]
"""GGUF names of the tensors that a stored one holds, one behind the other by rows."""


@dataclass(frozen=True, slots=True)
class FamilyNames:
    """The names of a family's tensors; a layer's begin with `layer`, its number and a dot."""

    embedding: str
    final_norm: str
    head: str
    layer: str
    in_layer: Mapping[str, Parts]
    """Name in a layer → GGUF names below `blk.N.`."""
    ignored: re.Pattern[str]
    """Names of tensors that no GGUF holds: rotary frequencies, which some tools save and every runtime computes."""

    def of_layer(self, layer: int, name: str) -> str:
        """Name in the checkpoint of a layer's tensor."""
        return f"{self.layer}{layer}.{name}"


_PRE_NORMS = {
    "input_layernorm.weight": ("attn_norm.weight",),
    "post_attention_layernorm.weight": ("ffn_norm.weight",),  # the norm BEFORE the MLP, despite its name
}
_MATRICES = {
    "self_attn.q_proj.bias": ("attn_q.bias",),
    "self_attn.k_proj.bias": ("attn_k.bias",),
    "self_attn.v_proj.bias": ("attn_v.bias",),
    "self_attn.q_proj.weight": ("attn_q.weight",),
    "self_attn.k_proj.weight": ("attn_k.weight",),
    "self_attn.v_proj.weight": ("attn_v.weight",),
    "self_attn.o_proj.weight": ("attn_output.weight",),
    "mlp.gate_up_proj.weight": ("ffn_up.weight",),
    "mlp.down_proj.weight": ("ffn_down.weight",),
}


def _transformers_names(in_layer: Mapping[str, Parts]) -> FamilyNames:
    """Return the names of a class in transformers."""
    return FamilyNames(
        embedding="model.embed_tokens.weight",
        final_norm="model.norm.weight",
        head="lm_head.weight",
        layer="model.layers.",
        in_layer=in_layer,
        ignored=re.compile(r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq|model\.rotary_emb\.inv_freq"),
    )


GLM4_NAMES = _transformers_names(
    {
        "input_layernorm.weight": ("attn_norm.weight",),
        "post_self_attn_layernorm.weight": ("post_attention_norm.weight",),
        "post_attention_layernorm.weight": ("ffn_norm.weight",),
        "post_mlp_layernorm.weight": ("post_ffw_norm.weight",),
        **_MATRICES,
    }
)
"""Glm4ForCausalLM (GLM-4-0414); source: transformers modeling_glm4, llama.cpp src/models/glm4.cpp."""

GLM_NAMES = _transformers_names({**_PRE_NORMS, **_MATRICES})
"""GlmForCausalLM (the HF form of 2024's models): no norms after attention and MLP; source: modeling_glm."""

CHATGLM_NAMES = FamilyNames(
    embedding="transformer.embedding.word_embeddings.weight",
    final_norm="transformer.encoder.final_layernorm.weight",
    head="transformer.output_layer.weight",
    layer="transformer.encoder.layers.",
    in_layer={
        **_PRE_NORMS,
        "self_attention.query_key_value.bias": ("attn_q.bias", "attn_k.bias", "attn_v.bias"),
        "self_attention.query_key_value.weight": ("attn_q.weight", "attn_k.weight", "attn_v.weight"),
        "self_attention.dense.weight": ("attn_output.weight",),
        "mlp.dense_h_to_4h.weight": ("ffn_up.weight",),
        "mlp.dense_4h_to_h.weight": ("ffn_down.weight",),
    },
    ignored=re.compile(r"transformer\.rotary_pos_emb\.inv_freq"),
)
"""ChatGLMModel (2024's own form); source: modeling_chatglm of GLM-4-9B-Chat, which ships with the weights."""
