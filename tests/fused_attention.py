"""GGUFs with one tensor for query, key and value, as llama.cpp's converter makes of ChatGLM's form."""

from __future__ import annotations

from pathlib import Path

from gguf import GGUFReader

from glm_gguf.gguf_file.head_writer import encode_head
from glm_gguf.gguf_file.header import GgufHeader
from glm_gguf.gguf_file.tensor_list import TensorEntry


def with_fused_attention(source: Path, out: Path) -> Path:
    """Write a GGUF anew with one tensor for query, key and value."""
    header = GgufHeader.read(source)
    data = {tensor.name: tensor.data.tobytes() for tensor in GGUFReader(source).tensors}
    offset, entries, blobs = 0, [], []
    for tensor in header.tensors:
        name, shape, blob = tensor.name, tensor.shape, data[tensor.name]
        if "attn_k." in name or "attn_v." in name:
            continue
        if "attn_q." in name:
            parts = [name.replace("attn_q.", f"attn_{part}.") for part in "kv"]
            rows = sum(other.shape[-1] for other in header.tensors if other.name in (name, *parts))
            name, shape = name.replace("attn_q.", "attn_qkv."), (*shape[:-1], rows)
            blob = b"".join([blob, *(data[part] for part in parts)])
        entries.append(TensorEntry(name, shape, tensor.type, offset))
        blobs.append(blob + b"\0" * (-len(blob) % 32))
        offset += len(blobs[-1])
    head = encode_head(header.metadata, entries)
    out.write_bytes(head + b"\0" * (-len(head) % 32) + b"".join(blobs))
    return out
