"""Several files against one reference: what `measured` tells, the speed of decode, and the error of each layer."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.quality.chunk_model import open_chunk_model
from glm_gguf.quality.evaluation import Evaluation, open_reference
from glm_gguf.quality.layer_errors import States, layer_errors, layer_states
from glm_gguf.quality.measurement import Task, Watch, measured

TIMED: Final = 32
"""Tokens that are decoded one by one behind the first chunk's others; the median counts."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What was measured of one file: decode in tokens a second, and the relative error of each layer's output.

    There are no errors by layer where the reference is a file of log probabilities.
    """

    evaluation: Evaluation
    decode_rate: float
    layer_errors: tuple[float, ...]


def compared(paths: Sequence[Path], task: Task, engine: EngineOptions, watch: Watch) -> tuple[Compared, ...]:
    """Measure files against the reference of a task, which has one; raises GlmGgufError."""
    assert task.reference is not None
    with tempfile.TemporaryDirectory(prefix="glm-gguf-") as directory:
        keeps = task.reads_saved or task.save_reference is not None
        saved = task if keeps else replace(task, save_reference=Path(directory, "reference"))
        found = measured(paths, saved, engine, watch)
        with open_reference(saved.save_reference or task.reference) as reader:
            tokens = reader.tokens[0]
    known = {} if task.reads_saved else layer_states(task.reference, tokens, engine)
    return tuple(_with_speed(found, paths, tokens, known, engine, watch))


def _with_speed(
    found: Sequence[Evaluation],
    paths: Sequence[Path],
    tokens: Sequence[int],
    known: States,
    engine: EngineOptions,
    watch: Watch,
) -> Iterator[Compared]:
    with watch("layers and speed") as on_step:
        on_step(0, len(paths))
        for number, (path, evaluation) in enumerate(zip(paths, found, strict=True), 1):
            errors = layer_errors(layer_states(path, tokens, engine), known) if known else ()
            yield Compared(evaluation, decode_rate(path, tokens, engine), errors)
            on_step(number, len(paths))


def decode_rate(path: Path, tokens: Sequence[int], engine: EngineOptions) -> float:
    """Return how many tokens a second the model decodes one by one, behind the beginning of a chunk."""
    with open_chunk_model(path, engine, len(tokens)) as model:
        return 1 / statistics.median(model.decode_times(tokens, min(TIMED, len(tokens) // 2)))
