"""Checkpoints that tests convert: GLM-4-0414 in every shape, with random weights, made from a seed."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from glm_gguf.convert.source.config import read_config
from glm_gguf.convert.source.model_config import ModelConfig
from glm_gguf.convert.source.safetensors_file import STORAGE, StoredTensor
from glm_gguf.convert.source.source import Source
from glm_gguf.convert.source.tensor_names import stored_shapes
from glm_gguf.convert.source.tokenizer import BYTE_CHARACTERS, REGEXES, merges_of, printable

SPECIALS = (
    *("<|endoftext|>", "[MASK]", "[gMASK]", "[sMASK]", "<sop>", "<eop>"),
    *("<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"),
    *("<|begin_of_image|>", "<|end_of_image|>", "<|begin_of_video|>", "<|end_of_video|>"),
)
MERGES = ("Ġ t", "h e", "Ġt he", "i n", "Ġ a", "e r", "o n", "Ġ Ġ", "ä ½", "ä½ ł", "å ¥", "å¥ ½")
TEMPLATE = (
    "[gMASK]<sop>{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

CARD = """---
license: mit
language:
- zh
- en
pipeline_tag: text-generation
library_name: transformers
base_model:
- THUDM/GLM-4-9B-Base
---
# GLM
"""


@dataclass(frozen=True)
class Shape:
    """Sizes of a made checkpoint; the default divides by 256 everywhere."""

    hidden: int = 256
    ffn: int = 512
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 64
    vocab: int = 320
    bias: bool = False
    tied: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Fields over the config.json that the sizes give; None removes one."""

    def config(self) -> dict[str, Any]:
        base = 256 + len(MERGES)
        config: dict[str, Any] = {
            "architectures": ["Glm4ForCausalLM"],
            "attention_bias": self.bias,
            "attention_dropout": 0.0,
            "eos_token_id": [base, base + 7, base + 9],
            "head_dim": self.head_dim,
            "hidden_act": "silu",
            "hidden_size": self.hidden,
            "intermediate_size": self.ffn,
            "max_position_embeddings": 4096,
            "model_type": "glm4",
            "num_attention_heads": self.heads,
            "num_hidden_layers": self.layers,
            "num_key_value_heads": self.kv_heads,
            "pad_token_id": base,
            "partial_rotary_factor": 0.5,
            "rms_norm_eps": 1e-05,
            "rope_theta": 10000.0,
            "tie_word_embeddings": self.tied,
            "torch_dtype": "bfloat16",
            "vocab_size": self.vocab,
        }
        config.update(self.extra)
        return {key: value for key, value in config.items() if value is not None}


def write_checkpoint(
    directory: Path,
    shape: Shape | None = None,
    *,
    dtype: str = "BF16",
    shards: int = 1,
    seed: int = 0,
    scale: float = 0.05,
) -> Path:
    """Write config, tokenizer and random weights; `dtype` may be "mixed". Returns the directory."""
    shape = shape or Shape()
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(shape.config(), indent=2))
    write_tokenizer(directory)
    config = read_config(Source.local(directory))
    tensors = random_tensors(config, dtype, seed, scale)
    write_shards(directory, tensors, shards)
    return directory


def write_official_checkpoint(directory: Path, official: Path) -> Path:
    """The official tokenizer, generation config and card with the weights of a toy."""
    ids = {"eos_token_id": [151329, 151336, 151338], "pad_token_id": 151329}
    write_checkpoint(directory, Shape(hidden=64, ffn=96, heads=2, kv_heads=1, vocab=151552, bias=True, extra=ids))
    write_official_tokenizer(directory, official)
    (directory / "README.md").write_text(CARD)
    generation = (official / "configs" / "GLM-4-9B-0414.generation_config.json").read_bytes()
    (directory / "generation_config.json").write_bytes(generation)
    return directory


def write_hollow_checkpoint(directory: Path, official: Path) -> Path:
    """A checkpoint of true size whose weights are a hole in a sparse file: for plans, which read none."""
    directory.mkdir(parents=True)
    config = (official / "configs" / f"{directory.name}.config.json").read_bytes()
    (directory / "config.json").write_bytes(config)
    return write_hollow_weights(directory)


def write_hollow_weights(directory: Path) -> Path:
    """Tokenizer and weights, a hole in a sparse file, beside the config.json of a directory."""
    write_tokenizer(directory)
    header, offset = {}, 0
    for name, shape in stored_shapes(read_config(Source.local(directory))).items():
        end = offset + 2 * prod(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    with (directory / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + offset)
    return directory


def random_tensors(
    config: ModelConfig, dtype: str, seed: int, scale: float = 0.05
) -> dict[str, tuple[str, np.ndarray]]:
    """Name → (dtype, values as stored): norms about 1, weights about N(0, scale)."""
    rng = np.random.default_rng(seed)
    made: dict[str, tuple[str, np.ndarray]] = {}
    for number, (name, shape) in enumerate(stored_shapes(config).items()):
        values = rng.standard_normal(shape, np.float32) * np.float32(scale)
        if "norm" in name:
            values += np.float32(1)
        chosen = ("BF16", "F16", "F32")[number % 3] if dtype == "mixed" else dtype
        made[name] = (chosen, stored(values, chosen))
    return made


def stored(values: np.ndarray, dtype: str) -> np.ndarray:
    """float32 values as the bytes of `dtype`; bf16 by rounding to nearest even."""
    if dtype == "BF16":
        bits = values.astype(np.float32).view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return values.astype({"F16": np.float16, "F32": np.float32}[dtype])


def write_shards(directory: Path, tensors: Mapping[str, tuple[str, np.ndarray]], shards: int) -> None:
    """One model.safetensors, or several shards with their index."""
    names = list(tensors)
    if shards == 1:
        write_safetensors(directory / "model.safetensors", tensors)
        return
    weight_map = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        part = {name: tensors[name] for name in names[shard::shards]}
        write_safetensors(directory / file, part)
        weight_map.update(dict.fromkeys(part, file))
    (directory / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def write_safetensors(path: Path, tensors: Mapping[str, tuple[str, np.ndarray]]) -> None:
    """The format by hand, so that what reads it is not what wrote it."""
    entries = {name: (dtype, values.shape, values.nbytes) for name, (dtype, values) in tensors.items()}
    _write_shard(path, entries, lambda name: (tensors[name][1].tobytes(),))


def write_tensors_one_by_one(
    path: Path, shapes: Mapping[str, tuple[int, ...]], pieces: Callable[[str], Iterable[bytes]]
) -> None:
    """A BF16 file of any size, from the pieces of each tensor in turn."""
    _write_shard(path, {name: ("BF16", shape, 2 * prod(shape)) for name, shape in shapes.items()}, pieces)


def _write_shard(
    path: Path, entries: Mapping[str, tuple[str, tuple[int, ...], int]], pieces: Callable[[str], Iterable[bytes]]
) -> None:
    """`entries` are dtype, shape and bytes of each tensor."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, (dtype, shape, n_bytes) in entries.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + n_bytes]}
        offset += n_bytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in entries:
            file.writelines(pieces(name))


def write_tokenizer(directory: Path) -> None:
    """A byte-level BPE of 256 bytes, a few merges and GLM's special tokens."""
    vocab = {character: id_ for id_, character in enumerate(BYTE_CHARACTERS)}
    for merge in MERGES:
        vocab[merge.replace(" ", "")] = len(vocab)
    write_tokenizer_json(directory, vocab, MERGES)


def write_official_tokenizer(directory: Path, official: Path) -> None:
    """The real vocabulary as tokenizer.json, rebuilt from its ranks, with the official tokenizer_config.json."""
    lines = (line.split() for line in (official / "tokenizer" / "glm-4.tiktoken").read_bytes().splitlines())
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    vocab = {printable(token): rank for token, rank in ranks.items()}
    write_tokenizer_json(directory, vocab, tuple(merges_of(ranks)))
    config = (official / "configs" / "GLM-4-9B-0414.tokenizer_config.json").read_bytes()
    (directory / "tokenizer_config.json").write_bytes(config)


def write_tokenizer_json(directory: Path, vocab: Mapping[str, int], merges: Sequence[str]) -> None:
    """tokenizer.json and tokenizer_config.json in the official form, special tokens right after the vocabulary."""
    added = [
        {
            **{"id": len(vocab) + number, "content": token, "special": True},
            **dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False),
        }
        for number, token in enumerate(SPECIALS)
    ]
    tokenizer = {
        "version": "1.0",
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": REGEXES[0]}, "behavior": "Isolated", "invert": False},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
            ],
        },
        "post_processor": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "ignore_merges": True, "vocab": vocab, "merges": list(merges)},
    }
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False))
    config = {
        "added_tokens_decoder": {str(token["id"]): {k: v for k, v in token.items() if k != "id"} for token in added},
        "chat_template": TEMPLATE,
        "eos_token": "<|user|>",
        "pad_token": "<|endoftext|>",
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(config, ensure_ascii=False))


def map_tensor(tensor: StoredTensor) -> npt.NDArray[np.generic]:
    """Memory-map a weight of a local checkpoint, shape as stored; bf16 comes as uint16 bit patterns."""
    return np.memmap(tensor.shard.where, STORAGE[tensor.dtype], "r", tensor.offset, tensor.shape)
