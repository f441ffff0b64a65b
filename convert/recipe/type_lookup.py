"""Find a file type by the name that a user gives; the error for an unknown one lists all names and sizes."""

from __future__ import annotations

from difflib import get_close_matches
from math import prod

from glm_gguf.architectures import GLM4
from glm_gguf.convert.recipe.assignment import Assigner, Overrides, Shapes
from glm_gguf.convert.recipe.file_types import ALIASES, FILE_TYPES, FileType, tensor_bytes
from glm_gguf.convert.source.family_names import GLM4_NAMES
from glm_gguf.convert.source.model_config import ModelConfig
from glm_gguf.convert.source.tensor_names import gguf_shapes
from glm_gguf.errors import RequestError

GLM_4_9B = ModelConfig(
    architecture=GLM4,
    names=GLM4_NAMES,
    hidden_size=4096,
    intermediate_size=13696,
    n_layers=40,
    n_heads=32,
    n_kv_heads=2,
    head_dim=128,
    vocab_size=151552,
    max_position=32768,
    rms_norm_eps=1e-5,
    rope_theta=10000.0,
    partial_rotary_factor=0.5,
    attention_bias=True,
    tied=False,
    rope_scaling=None,
)
"""The official GLM-4-9B-0414 (config.json of the checkpoint)."""


def file_type(name: str) -> FileType:
    """Find a file type by name or alias, in any case; raises RequestError, which lists the known ones."""
    upper = name.upper()
    found = FILE_TYPES.get(ALIASES.get(upper, upper))
    if found is None:
        sizes = sorted((bits_per_weight(file), file.name) for file in FILE_TYPES.values())
        known = ", ".join(f"{name} {bits:.2f}" for bits, name in sizes)
        near = get_close_matches(upper, FILE_TYPES, 1)
        meant = f"did you mean {near[0]}? " if near else ""
        fix = f"{meant}known, with bits per weight on GLM-4-9B: {known}"
        raise RequestError(f"unknown type {name!r}", field="type", fix=fix)
    return found


def bits_per_weight(file: FileType, config: ModelConfig = GLM_4_9B) -> float:
    """Average bits of a weight in a file of this type, without the header."""
    shapes: Shapes = gguf_shapes(config)
    types = Assigner(file, Overrides(), config.n_heads // config.n_kv_heads, imatrix=True).assign(shapes)
    total = sum(tensor_bytes(types[name], shape) for name, shape in shapes.items())
    return 8 * total / sum(prod(shape) for shape in shapes.values())
