"""The tensors of a GLM-4-0414 model: name and shape in the checkpoint, and name in the GGUF.

No tensor is permuted or fused: GLM's RoPE pairs neighbours as llama.cpp's NORM type does, and checkpoints store gate
and up projections as one, gate rows first, as llama.cpp's glm4 expects.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from glm_gguf.convert.source.checkpoint import Checkpoint
from glm_gguf.convert.source.config import Glm4Config
from glm_gguf.convert.source.safetensors_file import STORAGE, StoredTensor
from glm_gguf.errors import ShardError

LAYER_NAMES: Mapping[str, str] = {
    "input_layernorm.weight": "attn_norm.weight",
    "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.k_proj.weight": "attn_k.weight",
    "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.q_proj.bias": "attn_q.bias",
    "self_attn.k_proj.bias": "attn_k.bias",
    "self_attn.v_proj.bias": "attn_v.bias",
    "self_attn.o_proj.weight": "attn_output.weight",
    "post_self_attn_layernorm.weight": "post_attention_norm.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",  # the norm BEFORE the MLP, despite its name
    "mlp.gate_up_proj.weight": "ffn_up.weight",
    "mlp.down_proj.weight": "ffn_down.weight",
    "post_mlp_layernorm.weight": "post_ffw_norm.weight",
}
"""model.layers.N.* → blk.N.*; source: transformers modeling_glm4, llama.cpp src/models/glm4.cpp."""

IGNORED = re.compile(r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq|model\.rotary_emb\.inv_freq")
"""Buffers that some tools save, and that every runtime computes."""


@dataclass(frozen=True, slots=True)
class SourceTensor:
    """A tensor to convert: where it lies, and its name in the GGUF."""

    gguf_name: str
    stored: StoredTensor

    @property
    def shape(self) -> tuple[int, ...]:
        """(rows, columns) of a matrix or (n,) of a vector, row-major."""
        return self.stored.shape


def layer_shapes(config: Glm4Config) -> dict[str, tuple[int, ...]]:
    """Shapes of one layer's tensors by their name below `model.layers.N.`, row-major."""
    hidden, ffn = config.hidden_size, config.intermediate_size
    q, kv = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
    norms = dict.fromkeys((name for name in LAYER_NAMES if "layernorm" in name), (hidden,))
    biases = {f"self_attn.{n}_proj.bias": (size,) for n, size in (("q", q), ("k", kv), ("v", kv))}
    return {
        **norms,
        **(biases if config.attention_bias else {}),
        "self_attn.q_proj.weight": (q, hidden),
        "self_attn.k_proj.weight": (kv, hidden),
        "self_attn.v_proj.weight": (kv, hidden),
        "self_attn.o_proj.weight": (hidden, q),
        "mlp.gate_up_proj.weight": (2 * ffn, hidden),
        "mlp.down_proj.weight": (hidden, ffn),
    }


def expected_tensors(config: Glm4Config) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Checkpoint name → (GGUF name, row-major shape) of every tensor the model must have."""
    hidden, vocab = config.hidden_size, config.vocab_size
    expected: dict[str, tuple[str, tuple[int, ...]]] = {
        "model.embed_tokens.weight": ("token_embd.weight", (vocab, hidden)),
        "model.norm.weight": ("output_norm.weight", (hidden,)),
    }
    if not config.tied:
        expected["lm_head.weight"] = ("output.weight", (vocab, hidden))
    for layer in range(config.n_layers):
        for name, shape in layer_shapes(config).items():
            expected[f"model.layers.{layer}.{name}"] = (f"blk.{layer}.{LAYER_NAMES[name]}", shape)
    return expected


def source_tensors(checkpoint: Checkpoint) -> tuple[SourceTensor, ...]:
    """Every tensor of the model in llama.cpp's order (by layer, then name); raises ShardError."""
    expected = expected_tensors(checkpoint.config)
    for name, stored in checkpoint.tensors.items():
        if name not in expected and not _is_redundant(name, checkpoint.config):
            raise ShardError(
                f"{stored.shard.name} holds {name!r}, which no {checkpoint.config.n_layers}-layer GLM-4-0414 has",
                path=checkpoint.source.where,
                fix="merge adapters first, or correct config.json",
            )
    found = [
        SourceTensor(gguf_name, _checked(checkpoint, name, shape)) for name, (gguf_name, shape) in expected.items()
    ]
    return tuple(sorted(found, key=lambda tensor: llama_order(tensor.gguf_name)))


def llama_order(gguf_name: str) -> tuple[int, str]:
    """Sort key of llama_model_loader::weight_name_comparer: layer (-1 for none), then name."""
    layer = re.match(r"blk\.(\d+)\.", gguf_name)
    return (int(layer[1]) if layer else -1, gguf_name)


def _is_redundant(name: str, config: Glm4Config) -> bool:
    """Whether a tensor is a tied head, which repeats the embedding, or a computed rotary buffer."""
    return (config.tied and name == "lm_head.weight") or IGNORED.fullmatch(name) is not None


def _checked(checkpoint: Checkpoint, name: str, shape: tuple[int, ...]) -> StoredTensor:
    stored = checkpoint.tensors.get(name)
    if stored is None:
        raise ShardError(f"tensor {name!r} is missing", path=checkpoint.source.where, fix="fetch the weights again")
    if stored.shape != shape:
        raise ShardError(
            f"tensor {name!r} has shape {list(stored.shape)}, config.json asks for {list(shape)}",
            path=stored.shard.where,
        )
    if stored.dtype not in STORAGE:
        raise ShardError(
            f"tensor {name!r} is {stored.dtype}", path=stored.shard.where, fix="bf16, f16 or f32 weights are needed"
        )
    return stored
