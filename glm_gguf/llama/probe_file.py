"""A GGUF of a few layers of a model, whose weights are a hole in the file: llama.cpp's kernels are timed on it."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Final

from glm_gguf.architectures import GLM4
from glm_gguf.gguf_file.contents import architecture, head_dim, kv_heads, model_integer
from glm_gguf.gguf_file.ggml_types import TYPES
from glm_gguf.gguf_file.parts import GgufParts
from glm_gguf.gguf_file.tensor_list import TensorInfo, align

U32, F32, STRING = 4, 6, 8  # of GGUF's metadata types
ALIGNMENT: Final = 32
ROWS: Final = 16384
"""Of the embedding and of the output, in place of the whole vocabulary."""
OUTPUT: Final = "output.weight"
VOCABULARY: Final = ("token_embd.weight", OUTPUT)


@dataclass(frozen=True, slots=True)
class Probe:
    """Shapes of a model: numbers by key, without the architecture in front, and tensors."""

    architecture: str
    numbers: dict[str, int | float]
    tensors: tuple[TensorInfo, ...]

    @property
    def n_bytes(self) -> int:
        """Bytes of all layers."""
        return sum(tensor.n_bytes for tensor in self.tensors if tensor.name.startswith("blk."))

    @property
    def rows(self) -> int:
        """Rows of the embedding."""
        return next(tensor.shape[1] for tensor in self.tensors if tensor.name in VOCABULARY)

    def write(self, path: Path) -> None:
        """Write the header; the weights are zeros that take no space where the file system knows holes."""
        keys = [
            _entry("general.architecture", STRING, _text(self.architecture)),
            _entry("tokenizer.ggml.model", STRING, _text("no_vocab")),
        ]
        for name, number in self.numbers.items():
            packed = (U32, struct.pack("<I", number)) if isinstance(number, int) else (F32, struct.pack("<f", number))
            keys.append(_entry(f"{self.architecture}.{name}", *packed))
        offset, entries = 0, []
        for tensor in self.tensors:
            shape = struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape)
            entries.append(_text(tensor.name) + shape + struct.pack("<IQ", tensor.type.id, offset))
            offset = align(offset + tensor.n_bytes, ALIGNMENT)
        head = b"GGUF" + struct.pack("<IQQ", 3, len(entries), len(keys)) + b"".join(keys) + b"".join(entries)
        with path.open("wb") as file:
            file.write(head)
            file.truncate(align(len(head), ALIGNMENT) + offset)


def layers_probe(contents: GgufParts, layers: Sequence[int]) -> Probe:
    """Take these layers of a model, some perhaps twice, with the first ROWS of its embedding and output."""
    by_name = {tensor.name: tensor for tensor in contents.tensors}
    tensors = [
        _resized(by_name[name], (by_name[name].shape[0], min(ROWS, by_name[name].shape[1])))
        for name in VOCABULARY
        if name in by_name
    ]
    tensors.append(by_name["output_norm.weight"])
    for place, layer in enumerate(layers):
        start = f"blk.{layer}."
        found = [tensor for tensor in contents.tensors if tensor.name.startswith(start)]
        tensors += [replace(tensor, name=f"blk.{place}.{tensor.name.removeprefix(start)}") for tensor in found]
    return Probe(
        architecture(contents.metadata) or "",
        {**_numbers(contents), "block_count": len(layers), "vocab_size": min(ROWS, vocabulary_size(contents))},
        tuple(tensors),
    )


def attention_probe(contents: GgufParts, width: int = 256) -> Probe:
    """Take the attention of one layer, with its heads and little around it: matrices of f32 have a small `width`."""
    numbers = _numbers(contents) | {
        "block_count": 1,
        "embedding_length": width,
        "feed_forward_length": width,
        "vocab_size": width,
    }
    heads, keys = (int(numbers[f"attention.{name}"]) for name in ("head_count", "head_count_kv"))
    key, value = (int(numbers[f"attention.{name}_length"]) for name in ("key", "value"))
    shapes = {
        "token_embd": (width, width),
        "output_norm": (width,),
        **{f"blk.0.{name}": (width,) for name in ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm")},
        "blk.0.attn_q": (width, heads * key),
        "blk.0.attn_k": (width, keys * key),
        "blk.0.attn_v": (width, keys * value),
        "blk.0.attn_output": (heads * value, width),
        "blk.0.ffn_up": (width, 2 * width),
        "blk.0.ffn_down": (width, width),
    }
    plain = TYPES[0]
    return Probe(
        GLM4,  # whose attention is chatglm's, and need not be as wide as the model
        numbers,
        tuple(_resized(TensorInfo(f"{name}.weight", shape, plain, 0, 0), shape) for name, shape in shapes.items()),
    )


def vocabulary_size(contents: GgufParts) -> int:
    """Count the rows of the embedding."""
    return next(tensor.shape[1] for tensor in contents.tensors if tensor.name == VOCABULARY[0])


def _numbers(contents: GgufParts) -> dict[str, int | float]:
    metadata = contents.metadata
    names = ("embedding_length", "feed_forward_length", "attention.head_count", "rope.dimension_count")
    found: dict[str, int | float] = {name: model_integer(metadata, name) or 0 for name in names}
    return found | {
        "context_length": 2**17,
        "attention.head_count_kv": kv_heads(metadata) or 0,
        "attention.key_length": head_dim(metadata) or 0,
        "attention.value_length": head_dim(metadata, "value") or 0,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.freq_base": 10000.0,
    }


def _resized(tensor: TensorInfo, shape: tuple[int, ...]) -> TensorInfo:
    return replace(tensor, shape=shape, n_bytes=prod(shape) // tensor.type.block_size * tensor.type.block_bytes)


def _entry(key: str, kind: int, raw: bytes) -> bytes:
    return _text(key) + struct.pack("<I", kind) + raw


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()
