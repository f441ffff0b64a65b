"""A small checkpoint and importance matrix of exact arithmetic, in every type: the same files on every machine."""

from __future__ import annotations

import json
from contextlib import chdir
from hashlib import sha256
from pathlib import Path

import numpy as np
from checkpoints import Shape, stored, write_shards, write_tokenizer

from glm_gguf.convert import ConvertOptions, TypeChoices, convert
from glm_gguf.convert.kernels.samples import drawn, drawn_importance
from glm_gguf.convert.recipe.file_types import FILE_TYPES
from glm_gguf.convert.source.config import read_config
from glm_gguf.convert.source.source import Source
from glm_gguf.convert.source.tensor_names import expected_tensors, stored_shapes

SHAPE = Shape(hidden=256, ffn=416, layers=1, heads=4, kv_heads=2, head_dim=64, vocab=300)
"""Rows of 416 weights do not divide into super-blocks."""

IMATRIX_ONLY = {name for name in FILE_TYPES if name.startswith(("IQ1", "IQ2", "IQ3_XXS", "IQ3_XS")) or name == "Q2_K_S"}


def write_model(directory: Path) -> None:
    """Write the checkpoint, weights in BF16."""
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(SHAPE.config()))
    write_tokenizer(directory)
    tensors = {}
    for seed, (name, shape) in enumerate(stored_shapes(read_config(Source.local(directory))).items()):
        values = drawn(seed, *shape)
        tensors[name] = ("BF16", stored(values * np.float32(0.05) + np.float32("norm" in name), "BF16"))
    write_shards(directory, tensors, 1)


def write_importance(path: Path) -> None:
    """Write an importance matrix of all matrices in the older form, with one call an entry."""
    expected = expected_tensors(read_config(Source.local(path.with_name("model"))))
    shapes = {name: shape for tensor in expected for name, shape in tensor.parts}
    columns = {name: shape[-1] for name, shape in shapes.items() if len(shape) > 1}
    with path.open("wb") as file:
        file.write(np.int32(len(columns)).tobytes())
        for seed, (name, n) in enumerate(columns.items()):
            file.write(np.int32(len(name)).tobytes() + name.encode() + np.int32([1, n]).tobytes())
            file.write(drawn_importance(seed, n).tobytes())


def files_of_every_type(directory: Path, weighted: bool) -> dict[str, Path]:
    """File type → its file in `directory`. Paths in the files are relative: they are the same everywhere."""
    write_model(directory / "model")
    write_importance(directory / "imatrix.dat")
    first, *others = [name for name in FILE_TYPES if weighted or name not in IMATRIX_ONLY]
    types = TypeChoices(first, tuple(others), imatrix=Path("imatrix.dat") if weighted else None)
    with chdir(directory):
        paths = convert("model", "made/", ConvertOptions(types))
    return {name: directory / path for name, path in zip((first, *others), paths, strict=True)}


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return sha256(path.read_bytes()).hexdigest()
