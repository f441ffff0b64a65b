"""LoRA adapters as GGUF, with random factors over some matrices of a made model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from gguf import GGUFReader, GGUFWriter

RANK, ALPHA = 4, 8.0
ADAPTED = ("blk.0.attn_q.weight", "blk.1.ffn_down.weight", "blk.3.ffn_up.weight")

Matrix = np.ndarray[tuple[int, int], np.dtype[np.float32]]


def factors(model: Path, seed: int) -> dict[str, tuple[Matrix, Matrix]]:
    """A of (rank, columns) and B of (rows, rank) for some of the model's matrices."""
    generator = np.random.default_rng(seed)
    shapes = {tensor.name: tensor.data.shape for tensor in GGUFReader(model).tensors}
    return {
        name: (
            generator.normal(0, 0.1, (RANK, shapes[name][1])).astype(np.float32),
            generator.normal(0, 0.1, (shapes[name][0], RANK)).astype(np.float32),
        )
        for name in ADAPTED
    }


def write_adapter(path: Path, matrices: dict[str, tuple[Matrix, Matrix]], architecture: str = "glm4") -> Path:
    writer = GGUFWriter(path, architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", ALPHA)
    for name, (a, b) in matrices.items():
        writer.add_tensor(f"{name}.lora_a", a)
        writer.add_tensor(f"{name}.lora_b", b)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
