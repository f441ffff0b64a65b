"""PEFT adapters that tests make: random factors over the modules of a made base."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from checkpoints import stored, write_safetensors
from damage import SMALL

Factors = Mapping[str, np.ndarray]
RANK = 4
Q_PROJ = "model.layers.0.self_attn.q_proj"
Q_SHAPE = (SMALL.heads * SMALL.head_dim, SMALL.hidden)


def factors(module: str = Q_PROJ, shape: tuple[int, int] = Q_SHAPE, rank: int = RANK, seed: int = 0) -> Factors:
    """A and B of one module of shape (rows, columns), by PEFT's names."""
    rng = np.random.default_rng(seed)
    name = f"base_model.model.{module}"
    return {
        f"{name}.lora_A.weight": rng.normal(0, 0.2, (rank, shape[1])).astype(np.float32),
        f"{name}.lora_B.weight": rng.normal(0, 0.2, (shape[0], rank)).astype(np.float32),
    }


def query_shape(checkpoint: Path) -> tuple[int, int]:
    """(rows, columns) of a model's q_proj."""
    config = json.loads((checkpoint / "config.json").read_text("utf-8"))
    return config["num_attention_heads"] * config["head_dim"], config["hidden_size"]


def write_adapter(
    directory: Path, tensors: Factors | None = None, *, dtype: str = "F32", base: str | None = None, **fields: Any
) -> Path:
    """adapter_config.json with `fields`, and the tensors (those of one q_proj where None are given)."""
    directory.mkdir(parents=True, exist_ok=True)
    config = {
        "peft_type": "LORA",
        "base_model_name_or_path": base,
        "r": RANK,
        "lora_alpha": 8,
        "bias": "none",
        **fields,
    }
    (directory / "adapter_config.json").write_text(json.dumps(config))
    given = factors() if tensors is None else tensors
    as_stored = {name: (dtype, stored(values, dtype)) for name, values in given.items()}
    write_safetensors(directory / "adapter_model.safetensors", as_stored)
    return directory
