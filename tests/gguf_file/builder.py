"""GGUF files written by hand with struct, well formed or not; shares no code with the reader."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

U8, I8, U16, I16, U32, I32, F32, BOOL, STR, ARR, U64, I64, F64 = range(13)
CODES = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "?", U64: "Q", I64: "q", F64: "d"}
BLOCKS = {0: (1, 4), 1: (1, 2), 8: (32, 34), 9: (32, 36), 30: (1, 2)}
"""ggml type → weights and bytes a block, for the few types the tests write."""

Tagged = tuple[int, object]
"""A value's type and the value; an array's value is a pair of item type and items."""

TEMPLATE = "[gMASK]<sop>{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{% endfor %}" + (
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIALS = ("<|endoftext|>", "[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>")


def text(string: str | bytes) -> bytes:
    """A string as GGUF stores it: 64-bit length, then the bytes."""
    raw = string.encode() if isinstance(string, str) else string
    return struct.pack("<Q", len(raw)) + raw


def payload(kind: int, value: object) -> bytes:
    """A value without its type."""
    if kind == STR:
        assert isinstance(value, str | bytes)
        return text(value)
    if kind == ARR:
        assert isinstance(value, tuple)
        item_kind, items = value
        return struct.pack("<IQ", item_kind, len(items)) + b"".join(payload(item_kind, item) for item in items)
    return struct.pack("<" + CODES[kind], value)


def entry(key: str | bytes, kind: int, value: object) -> bytes:
    """A key with its type and value."""
    return raw_entry(key, kind, payload(kind, value))


def raw_entry(key: str | bytes, kind: int, raw: bytes) -> bytes:
    """A key with its type and any bytes as its value."""
    return text(key) + struct.pack("<I", kind) + raw


def tensor(name: str | bytes, shape: Sequence[int] = (4,), kind: int = 0, offset: int = 0) -> bytes:
    """An entry of the tensor list."""
    return (
        text(name)
        + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        + struct.pack("<I", kind)
        + struct.pack("<Q", offset)
    )


def head(n_tensors: int, n_keys: int, version: int = 3, magic: bytes = b"GGUF") -> bytes:
    """The first 24 bytes of a file."""
    return magic + struct.pack("<IQQ", version, n_tensors, n_keys)


def padded(raw: bytes, alignment: int = 32) -> bytes:
    """The bytes with zeros up to the next multiple."""
    return raw + b"\0" * (-len(raw) % alignment)


def build(keys: Sequence[bytes] = (), tensors: Sequence[bytes] = (), data: bytes = b"", alignment: int = 32) -> bytes:
    """A whole file of finished entries; data follow the padded head."""
    raw = head(len(tensors), len(keys)) + b"".join(keys) + b"".join(tensors)
    return padded(raw, alignment) + data if tensors else raw


@dataclass
class Model:
    """Keys and tensors of a model; change them, then write the file."""

    keys: dict[str, Tagged] = field(default_factory=dict)
    tensors: dict[str, tuple[tuple[int, ...], int]] = field(default_factory=dict)
    alignment: int = 32
    """Of the data; a key of its own states it."""

    def encode(self) -> bytes:
        """The file's bytes; data are zeros."""
        head, n_bytes = self._head()
        return head + b"\0" * n_bytes

    def _head(self) -> tuple[bytes, int]:
        """The padded head, and the number of bytes of data."""
        offset, entries = 0, []
        for name, (shape, kind) in self.tensors.items():
            weights, size = BLOCKS[kind]
            entries.append(tensor(name, shape, kind, offset))
            offset += -(-math.prod(shape) // weights * size // self.alignment) * self.alignment
        keys = [entry(key, *value) for key, value in self.keys.items()]
        return build(keys, entries, alignment=self.alignment), offset

    def write(self, path: Path) -> Path:
        """Write the file."""
        path.write_bytes(self.encode())
        return path

    def write_hollow(self, path: Path) -> Path:
        """Write the head; data are a hole in a sparse file, so that a model may have its true size."""
        head, n_bytes = self._head()
        with path.open("wb") as file:
            file.write(head)
            file.truncate(len(head) + n_bytes)
        return path


def glm4(layers: int = 2, bias: bool = True) -> Model:
    """A tiny faultless GLM-4-0414: width 8, 2 heads of 4 on 1 key-value head, MLP 12."""
    tokens = [*(f"t{index}" for index in range(9)), *SPECIALS]
    keys: dict[str, Tagged] = {
        "general.architecture": (STR, "glm4"),
        "general.name": (STR, "Tiny GLM"),
        "glm4.block_count": (U32, layers),
        "glm4.context_length": (U32, 32768),
        "glm4.embedding_length": (U32, 8),
        "glm4.feed_forward_length": (U32, 12),
        "glm4.attention.head_count": (U32, 2),
        "glm4.attention.head_count_kv": (U32, 1),
        "glm4.attention.key_length": (U32, 4),
        "glm4.attention.value_length": (U32, 4),
        "glm4.attention.layer_norm_rms_epsilon": (F32, 1e-5),
        "glm4.rope.dimension_count": (U32, 2),
        "glm4.rope.freq_base": (F32, 10000.0),
        "tokenizer.ggml.model": (STR, "gpt2"),
        "tokenizer.ggml.pre": (STR, "glm4"),
        "tokenizer.ggml.tokens": (ARR, (STR, tokens)),
        "tokenizer.ggml.token_type": (ARR, (I32, [1] * 9 + [3] * 7)),
        "tokenizer.ggml.merges": (ARR, (STR, ["t 1", "t 2"])),
        "tokenizer.ggml.eos_token_id": (U32, tokens.index("<|endoftext|>")),
        "tokenizer.ggml.eot_token_id": (U32, tokens.index("<|user|>")),
        "tokenizer.ggml.eom_token_id": (U32, tokens.index("<|observation|>")),
        "tokenizer.chat_template": (STR, TEMPLATE),
    }
    tensors: dict[str, tuple[tuple[int, ...], int]] = {"token_embd.weight": ((8, len(tokens)), 30)}
    for layer in range(layers):
        tensors |= {f"blk.{layer}.{name}": spec for name, spec in layer_tensors(bias).items()}
    tensors |= {"output_norm.weight": ((8,), 0), "output.weight": ((8, len(tokens)), 30)}
    return Model(keys, tensors)


def glm4_9b(n_ctx: int = 32768) -> Model:
    """Keys and shapes of GLM-4-9B-0414, matrices as Q8_0; the vocabulary has made-up tokens."""
    model = glm4(layers=40)
    sizes = {8: 4096, 4: 256, 12: 13696, 24: 2 * 13696, 16: 151552}
    model.tensors = {
        name: (tuple(sizes[extent] for extent in shape), 8 if len(shape) > 1 else 0)
        for name, (shape, _) in model.tensors.items()
    }
    tokens = [*(f"t{index}" for index in range(151552 - len(SPECIALS))), *SPECIALS]
    types = [1] * (len(tokens) - len(SPECIALS)) + [3] * len(SPECIALS)
    model.keys |= {
        "tokenizer.ggml.tokens": (ARR, (STR, tokens)),
        "tokenizer.ggml.token_type": (ARR, (I32, types)),
        "tokenizer.ggml.eos_token_id": (U32, tokens.index("<|endoftext|>")),
        "tokenizer.ggml.eot_token_id": (U32, tokens.index("<|user|>")),
        "tokenizer.ggml.eom_token_id": (U32, tokens.index("<|observation|>")),
    }
    numbers = {
        **{"context_length": n_ctx, "embedding_length": 4096, "feed_forward_length": 13696, "rope.dimension_count": 64},
        **{"attention.head_count": 32, "attention.head_count_kv": 2},
        **{"attention.key_length": 128, "attention.value_length": 128},
    }
    return replace(model, keys=model.keys | {f"glm4.{name}": (U32, number) for name, number in numbers.items()})


def chatglm_9b() -> Model:
    """Keys and shapes of GLM-4-9B-Chat of 2024, matrices as Q8_0; the vocabulary has made-up tokens."""
    model = glm4_9b(n_ctx=131072)
    keys = {key.replace("glm4.", "chatglm."): value for key, value in model.keys.items()} | {
        "general.architecture": (STR, "chatglm"),
        "chatglm.attention.layer_norm_rms_epsilon": (F32, 1.5625e-07),
        "chatglm.rope.freq_base": (F32, 5_000_000.0),
    }
    tensors = {name: spec for name, spec in model.tensors.items() if "post_" not in name}
    return replace(model, keys=keys, tensors=tensors)


def layer_tensors(bias: bool) -> dict[str, tuple[tuple[int, ...], int]]:
    """Name → shape and type of one layer's tensors."""
    biases: dict[str, tuple[tuple[int, ...], int]] = {
        "attn_q.bias": ((8,), 0),
        "attn_k.bias": ((4,), 0),
        "attn_v.bias": ((4,), 0),
    }
    return {
        "attn_norm.weight": ((8,), 0),
        "attn_q.weight": ((8, 8), 30),
        "attn_k.weight": ((8, 4), 30),
        "attn_v.weight": ((8, 4), 30),
        **(biases if bias else {}),
        "attn_output.weight": ((8, 8), 30),
        "post_attention_norm.weight": ((8,), 0),
        "ffn_norm.weight": ((8,), 0),
        "ffn_up.weight": ((8, 24), 30),
        "ffn_down.weight": ((12, 8), 30),
        "post_ffw_norm.weight": ((8,), 0),
    }


EVERY_KIND = {
    "u8": (U8, 200),
    "i8": (I8, -100),
    "u16": (U16, 60000),
    "i16": (I16, -30000),
    "u32": (U32, 4_000_000_000),
    "i32": (I32, -2_000_000_000),
    "f32": (F32, 0.5),
    "bool": (BOOL, True),
    "str": (STR, "早上好 \n"),
    "u64": (U64, 2**64 - 1),
    "i64": (I64, -(2**63)),
    "f64": (F64, 0.1),
    "empty": (STR, ""),
    "numbers": (ARR, (I32, [1, -2, 3])),
    "truths": (ARR, (BOOL, [True, False])),
    "decimals": (ARR, (F32, [0.5, float("inf")])),
    "texts": (ARR, (STR, ["a", "", "Ġé"])),
    "none": (ARR, (STR, [])),
    "nested": (ARR, (ARR, [(I32, [1, 2]), (STR, ["x"])])),
}
