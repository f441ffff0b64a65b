"""How far each layer's output is from the reference's, on one chunk of text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.llama.evaluation_callback import Node
from glm_gguf.quality.chunk_model import open_chunk_model

Floats = npt.NDArray[np.float32]
States = Mapping[int, Floats]
"""Number of a layer → its outputs [rows, n_embd]."""
LAYER_OUTPUT: Final = re.compile(r"l_out-(\d+)")
"""llama.cpp's name of what a layer adds up to (cb(cur, "l_out", il) of its models)."""
ROWS: Final = 64
"""The last tokens of a chunk, whose states are kept: 42 MB of a 9B model."""


class LayerOutputs:
    """Observer that keeps the outputs of all layers for the last tokens of a batch."""

    def __init__(self) -> None:
        self.states: dict[int, Floats] = {}

    def wants(self, node: Node) -> bool:
        """Tell whether a node is the output of a layer."""
        return LAYER_OUTPUT.fullmatch(node.name) is not None and node.is_f32

    def take(self, node: Node) -> None:
        """Keep its last rows."""
        found = LAYER_OUTPUT.fullmatch(node.name)
        assert found is not None
        self.states[int(found[1])] = node.values()[-ROWS:].copy()


def layer_states(path: Path, tokens: Sequence[int], engine: EngineOptions) -> States:
    """Compute a chunk and return the outputs of all layers; raises GlmGgufError."""
    outputs = LayerOutputs()
    with open_chunk_model(path, engine, len(tokens), outputs) as model:
        model.compute(tokens)
    return outputs.states


def layer_errors(states: States, reference: States) -> tuple[float, ...]:
    """Return the relative error of each layer: the norm of the difference by the norm of the reference."""
    return tuple(_error(states[layer], reference[layer]) for layer in sorted(states.keys() & reference.keys()))


def _error(found: Floats, known: Floats) -> float:
    rows = min(len(found), len(known))
    return float(np.linalg.norm(found[-rows:] - known[-rows:]) / np.linalg.norm(known[-rows:]))
