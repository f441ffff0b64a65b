"""Checkpoints of the GLM-4 models of 2024 in both forms: GlmForCausalLM's with HF names, and ChatGLMModel's own."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from checkpoints import (
    Shape,
    map_tensor,
    write_checkpoint,
    write_hollow_weights,
    write_official_tokenizer,
    write_safetensors,
)

from glm_gguf.convert.source.checkpoint import Checkpoint
from glm_gguf.convert.source.source import Source
from glm_gguf.convert.source.tokenizer import BYTE_CHARACTERS

EPSILON = 1.5625e-07
CHAT, CHAT_1M, BASE = 500, 10_000, 1  # rope_ratio
CONTEXTS = {CHAT: 131_072, CHAT_1M: 1_048_576, BASE: 8192}

OWN_NAMES = {
    "model.embed_tokens": "transformer.embedding.word_embeddings",
    "model.norm": "transformer.encoder.final_layernorm",
    "lm_head": "transformer.output_layer",
    "model.layers": "transformer.encoder.layers",
    "self_attn.o_proj": "self_attention.dense",
    "mlp.gate_up_proj": "mlp.dense_h_to_4h",
    "mlp.down_proj": "mlp.dense_4h_to_h",
}
"""Beginnings and middles of names in the HF form → in ChatGLM's; q, k and v become one."""


def hf_shape(shape: Shape | None = None, ratio: int = CHAT, **extra: Any) -> Shape:
    """Return a shape whose config.json is GlmForCausalLM's: 2024's values, and heads that make the hidden size."""
    shape = shape or Shape(bias=True)
    fields = {
        "architectures": ["GlmForCausalLM"],
        "model_type": "glm",
        "rms_norm_eps": EPSILON,
        "rope_theta": 10_000.0 * ratio,
        "max_position_embeddings": CONTEXTS[ratio],
    }
    return replace(shape, extra={**shape.extra, **fields, **extra})


EDGE_FIELDS = {
    "architectures": ["GlmForCausalLM"],
    "model_type": "glm",
    "max_position_embeddings": 8192,
    "partial_rotary_factor": 1.0,
    "rms_norm_eps": 1e-05,
    "rope_theta": 10_000.0,
}
EDGE = Shape(
    **{"hidden": 64, "ffn": 96, "layers": 2, "heads": 2, "kv_heads": 1, "head_dim": 32, "vocab": 59264, "tied": True},
    extra=EDGE_FIELDS,
)
"""GLM-Edge-1.5B-Chat's fields, of other sizes: whole heads are rotated, the output head is the embedding."""


def write_chatglm_form(directory: Path, hf_form: Path, **extra: Any) -> Path:
    """Write ChatGLM's form of a checkpoint in the HF form: fields, fused tensors, and ranks for a tokenizer."""
    directory.mkdir(parents=True)
    config = chatglm_config(json.loads((hf_form / "config.json").read_text())) | extra
    (directory / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value != ...}))
    stored = Checkpoint.open(Source.local(hf_form)).tensors
    tensors = {name: (tensor.dtype, np.array(map_tensor(tensor))) for name, tensor in stored.items()}
    write_safetensors(directory / "model.safetensors", with_own_names(tensors))
    write_ranks(directory, hf_form)
    return directory


def chatglm_config(hf: Mapping[str, Any]) -> dict[str, Any]:
    """Return ChatGLMConfig's fields for those of GlmConfig, with what the official file has beside."""
    return {
        "architectures": ["ChatGLMModel"],
        "model_type": "chatglm",
        "add_bias_linear": False,
        "add_qkv_bias": hf["attention_bias"],
        "apply_residual_connection_post_layernorm": False,
        "ffn_hidden_size": hf["intermediate_size"],
        "hidden_size": hf["hidden_size"],
        "kv_channels": hf["head_dim"],
        "layernorm_epsilon": hf["rms_norm_eps"],
        "multi_query_attention": True,
        "multi_query_group_num": hf["num_key_value_heads"],
        "num_attention_heads": hf["num_attention_heads"],
        "num_hidden_layers": hf["num_hidden_layers"],
        "num_layers": hf["num_hidden_layers"],
        "original_rope": True,
        "padded_vocab_size": hf["vocab_size"],
        "post_layer_norm": True,
        "rmsnorm": True,
        "rope_ratio": int(hf["rope_theta"] / 10_000),
        "seq_length": hf["max_position_embeddings"],
        "tie_word_embeddings": hf["tie_word_embeddings"],
        "torch_dtype": "bfloat16",
    }


def with_own_names(tensors: Mapping[str, tuple[str, np.ndarray]]) -> dict[str, tuple[str, np.ndarray]]:
    """Name → (dtype, values) in ChatGLM's form; rows of q, k and v behind one another, and the rotary buffer."""
    made: dict[str, tuple[str, np.ndarray]] = {}
    for name, (dtype, values) in tensors.items():
        if ".q_proj." in name:
            parts = [values, *(tensors[name.replace(".q_proj.", f".{part}_proj.")][1] for part in "kv")]
            name, values = name.replace("self_attn.q_proj", "self_attention.query_key_value"), np.concatenate(parts)
        elif ".k_proj." in name or ".v_proj." in name:
            continue
        for theirs, own in OWN_NAMES.items():
            name = name.replace(theirs, own)
        made[name] = (dtype, values)
    return {"transformer.rotary_pos_emb.inv_freq": ("F32", np.ones(16, np.float32)), **made}


def write_ranks(directory: Path, hf_form: Path) -> None:
    """Write tokenizer.model and tokenizer_config.json from tokenizer.json."""
    vocab = json.loads((hf_form / "tokenizer.json").read_text())["model"]["vocab"]
    lines = []
    for token, id_ in sorted(vocab.items(), key=lambda item: item[1]):
        spelled = bytes(BYTE_CHARACTERS.index(character) for character in token)
        lines.append(base64.b64encode(spelled) + b" %d\n" % id_)
    (directory / "tokenizer.model").write_bytes(b"".join(lines))
    (directory / "tokenizer_config.json").write_bytes((hf_form / "tokenizer_config.json").read_bytes())


def write_official_checkpoint_2024(directory: Path, official: Path) -> Path:
    """Write the HF form of a toy with the official vocabulary, template and generation config of GLM-4-9B-Chat."""
    ids = {"eos_token_id": [151329, 151336, 151338], "pad_token_id": 151329}
    small = Shape(hidden=64, ffn=96, heads=2, kv_heads=1, head_dim=32, vocab=151552, bias=True)
    write_checkpoint(directory, hf_shape(small, **ids))
    write_official_tokenizer(directory, official)
    config = json.loads((official / "2024" / "glm-4-9b-chat.tokenizer_config.json").read_text("utf-8"))
    del config["auto_map"]  # the HF form has no code beside it
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    (directory / "tokenizer_config.json").write_text(json.dumps(config, ensure_ascii=False), "utf-8")
    generation = (official / "2024" / "glm-4-9b-chat.generation_config.json").read_bytes()
    (directory / "generation_config.json").write_bytes(generation)
    return directory


def write_hollow_checkpoint_2024(directory: Path, official: Path) -> Path:
    """GLM-4-9B-Chat of true size, in ChatGLM's form; its weights are a hole in a sparse file."""
    directory.mkdir(parents=True)
    (directory / "config.json").write_bytes((official / "2024" / "glm-4-9b-chat.config.json").read_bytes())
    return write_hollow_weights(directory)


def both_forms(directory: Path, shape: Shape, **written: Any) -> tuple[Path, Path]:
    """Write one model in both forms."""
    hf = write_checkpoint(directory / "hf" / "GLM-4-9B-Chat", shape, **written)
    return hf, write_chatglm_form(directory / "own" / "GLM-4-9B-Chat", hf)
