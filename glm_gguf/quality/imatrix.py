"""An importance matrix measured on texts, as llama-imatrix does it; it goes on where it was interrupted."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from glm_gguf.errors import ImatrixError, RequestError
from glm_gguf.gguf_file.parts import open_all_parts
from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.llama.fingerprint import fingerprint
from glm_gguf.quality.activation_sums import ActivationSums
from glm_gguf.quality.chunk_model import ChunkModel, open_chunk_model
from glm_gguf.quality.chunks import ChunkOptions, Chunks
from glm_gguf.quality.imatrix_file import ImportanceMatrix, joined, require_model
from glm_gguf.quality.imatrix_state import ImatrixState, kept_state, state_path
from glm_gguf.quality.on_step import OnStep, untold
from glm_gguf.quality.outputs import require_output
from glm_gguf.quality.text_data import TextData

SAVE_SECONDS: Final = 10.0
"""Between two states on the disk; an interruption writes one too."""


@dataclass(frozen=True, slots=True)
class ImatrixOptions:
    """What is measured, and how."""

    chunks: ChunkOptions = field(default_factory=ChunkOptions)
    output: bool = False
    """Measure output.weight too; llama-imatrix calls it --process-output."""
    add: tuple[Path, ...] = ()
    """Importance matrices of the same model, to add."""
    force: bool = False
    """Replace an existing output."""


def measure_imatrix(
    path: Path,
    data: TextData | None,
    out: Path,
    options: ImatrixOptions,
    engine: EngineOptions,
    on_step: OnStep = untold,
) -> ImportanceMatrix:
    """Measure a model on texts, add other matrices, and write the sum; without texts only those are added.

    An interruption leaves `out`.part, from which the same call goes on. Raises GlmGgufError.
    """
    contents = open_all_parts(path)
    read = [*(part.path for part in contents.files), *options.add, *(() if data is None else map(Path, data.names))]
    require_output(out, force=options.force, inputs=read)
    added = [ImportanceMatrix.read(each) for each in options.add]
    for matrix, place in zip(added, options.add, strict=True):
        require_model(matrix, place, contents.tensors)
    if data is None and not added:
        raise ImatrixError("there is nothing to measure on, and nothing to add", fix="give texts or matrices")
    if data is None:
        _require_unmeasured(options)
    measured = [] if data is None else [_measured(path, data, out, options, engine, on_step)]
    result = joined([*measured, *added])
    result.write(out)
    if measured:
        state_path(out).unlink(missing_ok=True)
    return result


def _require_unmeasured(options: ImatrixOptions) -> None:
    """Raise RequestError for options of a measurement where none is made."""
    default, cut = ChunkOptions(), options.chunks
    given = {"chunk_tokens": cut.n_tokens != default.n_tokens, "chunks": cut.most is not None, "output": options.output}
    for name in (name for name, is_given in given.items() if is_given):
        fix = "give texts too, or leave it out"
        raise RequestError("matrices are added, and nothing is measured", field=name, fix=fix)


def _measured(
    path: Path, data: TextData, out: Path, options: ImatrixOptions, engine: EngineOptions, on_step: OnStep
) -> ImportanceMatrix:
    sums = ActivationSums(output=options.output)
    with open_chunk_model(path, engine, options.chunks.n_tokens, sums) as model:
        chunks = Chunks.of(data.token_ids(model.model), options.chunks, model.model.vocabulary.first_id)
        state = kept_state(out, _binding(model, chunks, options, engine))
        sums.sums = dict(state.sums)
        _compute(model, chunks, sums, state, out, on_step)
    return ImportanceMatrix(sums.sums, data.names, options.chunks.n_tokens)


def _compute(
    model: ChunkModel, chunks: Chunks, sums: ActivationSums, state: ImatrixState, out: Path, on_step: OnStep
) -> None:
    """Compute the chunks that are left; what is summed is kept now and then, and at an interruption."""
    done, saved, whole = state.n_done, time.monotonic(), dict(sums.sums)
    on_step(done, len(chunks))
    try:
        for row in chunks.rows[done:]:
            model.compute(row)
            done, whole = done + 1, dict(sums.sums)
            on_step(done, len(chunks))
            if time.monotonic() - saved > SAVE_SECONDS:
                ImatrixState(state.binding, done, whole).write(out)
                saved = time.monotonic()
    except BaseException:
        if done:
            ImatrixState(state.binding, done, whole).write(out)
        raise


def _binding(model: ChunkModel, chunks: Chunks, options: ImatrixOptions, engine: EngineOptions) -> str:
    """Say from what the sums come: another file, text or option gives others."""
    files = tuple(part.path for part in model.model.file.contents.files)
    return json.dumps([fingerprint(files, engine), chunks.digest, options.output])
