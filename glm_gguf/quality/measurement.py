"""All that is measured of one file or several, against one reference: texts, then tool calls."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from glm_gguf.errors import RequestError
from glm_gguf.gguf_file.parts import open_all_parts
from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.llama.fingerprint import vocabulary_hash
from glm_gguf.quality.call_agreement import CallAgreement, Calls, made_calls
from glm_gguf.quality.chunks import ChunkOptions
from glm_gguf.quality.evaluation import (
    Evaluation,
    evaluate,
    evaluate_against,
    is_reference,
    open_reference,
    require_vocabulary,
    write_reference,
)
from glm_gguf.quality.on_step import OnStep
from glm_gguf.quality.outputs import require_output
from glm_gguf.quality.text_data import Dialogue, TextData

Watch = Callable[[str], AbstractContextManager[OnStep]]
"""Opens the view of a part of the measurement, by its name."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is measured: texts, how they are cut, requests, and the reference that all is compared with.

    The reference is a GGUF, or a file of its log probabilities, which has texts of its own.
    """

    data: TextData
    chunks: ChunkOptions = field(default_factory=ChunkOptions)
    requests: tuple[Dialogue, ...] = ()
    reference: Path | None = None
    save_reference: Path | None = None

    def __post_init__(self) -> None:
        if self.reference is None and (self.requests or self.save_reference is not None):
            name = "requests" if self.requests else "save_reference"
            raise RequestError("there is nothing to compare with", field=name, fix="give a reference too")
        if self.save_reference is not None:
            require_output(self.save_reference)

    @property
    def reads_saved(self) -> bool:
        """Whether the reference is a file of log probabilities."""
        return self.reference is not None and is_reference(self.reference)


def measured(paths: Sequence[Path], task: Task, engine: EngineOptions, watch: Watch) -> tuple[Evaluation, ...]:
    """Measure files, one model in memory at a time; raises GlmGgufError.

    Files with the reference's vocabulary only. The reference's own KV cache is f16.
    """
    if task.reference is None:
        return tuple(_evaluated(path, task, engine, watch) for path in paths)
    if task.reads_saved and task.requests:
        fix = "give the reference as a GGUF"
        raise RequestError("saved log probabilities answer no requests", field="requests", fix=fix)
    if task.reads_saved and task.save_reference is not None:
        raise RequestError("the reference is saved already", field="save_reference", fix="leave it out")
    if task.reads_saved:
        _require_cut(task.reference, task.chunks)
    else:
        vocabulary = vocabulary_hash(open_all_parts(task.reference).metadata)
        for path in paths:
            require_vocabulary(path, vocabulary, str(task.reference))
    with _log_probabilities(task, task.reference, engine, watch) as known:
        answers = _answers(task.reference, task, replace(engine, cache_type_k=None, cache_type_v=None), watch)
        return tuple(_compared(path, known, (task, answers), engine, watch) for path in paths)


def _require_cut(saved: Path, chunks: ChunkOptions) -> None:
    """Raise RequestError for chunks that saved log probabilities do not have: they were cut when they were saved."""
    with open_reference(saved) as reader:
        head = reader.head
    fix = "leave it out, or give the reference as a GGUF"
    if chunks.n_tokens not in (ChunkOptions().n_tokens, head.chunk_tokens):
        what = f"the saved reference has chunks of {head.chunk_tokens} tokens"
        raise RequestError(what, field="chunk_tokens", fix=fix)
    if chunks.most not in (None, head.n_chunks):
        raise RequestError(f"the saved reference has {head.n_chunks} chunks", field="chunks", fix=fix)


def _evaluated(path: Path, task: Task, engine: EngineOptions, watch: Watch) -> Evaluation:
    with watch(path.name) as on_step:
        return evaluate(path, task.data, task.chunks, engine, on_step)


def _compared(
    path: Path, known: Path, asked: tuple[Task, tuple[Calls, ...]], engine: EngineOptions, watch: Watch
) -> Evaluation:
    task, answers = asked
    with watch(path.name) as on_step:
        found = evaluate_against(path, known, engine, on_step)
    if not task.requests:
        return found
    return replace(found, calls=CallAgreement.of(answers, _answers(path, task, engine, watch)))


def _answers(path: Path, task: Task, engine: EngineOptions, watch: Watch) -> tuple[Calls, ...]:
    if not task.requests:
        return ()
    with watch(f"{path.name}: requests") as on_step:
        return made_calls(path, task.requests, engine, on_step)


@contextmanager
def _log_probabilities(task: Task, reference: Path, engine: EngineOptions, watch: Watch) -> Iterator[Path]:
    """Yield a file of the reference's log probabilities, which is removed at the end where nobody asked for it."""
    if task.reads_saved:
        yield reference
        return
    with tempfile.TemporaryDirectory(prefix="glm-gguf-") as directory:
        out = task.save_reference or Path(directory, "reference")
        with watch(f"{reference.name} (reference)") as on_step:
            write_reference(reference, task.data, task.chunks, engine, out, on_step)
        yield out
