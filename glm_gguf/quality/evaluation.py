"""A file measured on texts: perplexity, and how far it is from a reference, one model in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import Any

from glm_gguf.errors import RequestError
from glm_gguf.gguf_file.parts import open_all_parts
from glm_gguf.gguf_file.report import Report
from glm_gguf.llama.engine_options import CacheType, EngineOptions
from glm_gguf.llama.fingerprint import vocabulary_hash
from glm_gguf.quality.call_agreement import CallAgreement
from glm_gguf.quality.chunk_model import ChunkModel, Floats, open_chunk_model
from glm_gguf.quality.chunks import ChunkOptions, Chunks
from glm_gguf.quality.on_step import OnStep, untold
from glm_gguf.quality.reference_file import (
    MAGIC,
    CodedRows,
    ReferenceHead,
    ReferenceReader,
    ReferenceWriter,
    rows_of_chunk,
)
from glm_gguf.quality.text_data import TextData
from glm_gguf.quality.token_statistics import Divergence, Mean, TokenRows
from glm_gguf.regular_file import open_regular
from glm_gguf.whole_file import whole_file


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was measured of a file, and on what; probabilities as shares, logarithms natural."""

    file: str
    n_bytes: int
    bits_per_weight: float
    cache_types: tuple[str, str]
    texts: tuple[str, ...]
    chunk_tokens: int
    n_chunks: int
    n_tokens: int
    """Tokens that were predicted: of each chunk those behind its first half."""
    perplexity: Mean
    reference: str | None = None
    divergence: Divergence | None = None
    calls: CallAgreement | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def evaluate(
    path: Path, data: TextData, chunks: ChunkOptions, engine: EngineOptions, on_step: OnStep = untold
) -> Evaluation:
    """Measure the perplexity of a file; raises GlmGgufError."""
    with open_chunk_model(path, engine, chunks.n_tokens) as model:
        cut = _cut(model, data, chunks)
        rows = _measured(model, cut.rows, repeat(None), on_step)
    return _evaluation(path, engine, rows, (data.names, cut.n_tokens, len(cut)), None)


def write_reference(
    path: Path, data: TextData, chunks: ChunkOptions, engine: EngineOptions, out: Path, on_step: OnStep = untold
) -> None:
    """Write the log probabilities of a reference, whose KV cache is f16; raises GlmGgufError."""
    engine = replace(engine, cache_type_k=CacheType.F16, cache_type_v=CacheType.F16)
    with open_chunk_model(path, engine, chunks.n_tokens) as model, whole_file(out) as file:
        cut = _cut(model, data, chunks)
        vocabulary, size = vocabulary_hash(model.model.metadata), model.model.vocabulary.size
        head = ReferenceHead(path.name, vocabulary, size, data.names, cut.n_tokens, len(cut))
        writer = ReferenceWriter(file, head, cut.rows)
        on_step(0, len(cut))
        for number, tokens in enumerate(cut.rows, 1):
            writer.add(CodedRows.joined([CodedRows.of(block) for block, _ in _predictions(model, tokens)]))
            on_step(number, len(cut))
        file.finish()


def evaluate_against(path: Path, reference: Path, engine: EngineOptions, on_step: OnStep = untold) -> Evaluation:
    """Measure a file on the tokens of a reference that `write_reference` wrote; raises GlmGgufError."""
    with open_reference(reference) as reader:
        head = reader.head
        require_vocabulary(path, head.vocabulary, head.model)
        with open_chunk_model(path, engine, head.chunk_tokens) as model:
            if model.model.vocabulary.size != head.n_vocab:
                raise RequestError(f"it is of {head.n_vocab} tokens", field="reference", path=reference)
            rows = _measured(model, reader.tokens, reader.rows(), on_step)
    return _evaluation(path, engine, rows, (head.texts, head.chunk_tokens, head.n_chunks), head.model)


@contextmanager
def open_reference(path: Path) -> Iterator[ReferenceReader]:
    """Open a file of `write_reference`; RequestError for another."""
    with open_regular(path) as file:
        yield ReferenceReader(file, path)


def is_reference(path: Path) -> bool:
    """Tell whether a file is one of `write_reference`, and no model."""
    with open_regular(path) as file:
        return file.read(len(MAGIC)) == MAGIC


def require_vocabulary(path: Path, vocabulary: str, reference: str) -> None:
    """Raise RequestError unless a model has the vocabulary of that hash."""
    if vocabulary_hash(open_all_parts(path).metadata) != vocabulary:
        what = f"{reference} has another vocabulary than {path}"
        raise RequestError(what, field="reference", fix="give the file that this one was quantised from")


def _cut(model: ChunkModel, data: TextData, chunks: ChunkOptions) -> Chunks:
    return Chunks.of(data.token_ids(model.model), chunks, model.model.vocabulary.first_id)


def _measured(
    model: ChunkModel,
    chunks: Sequence[Sequence[int]],
    references: Iterator[CodedRows | None],
    on_step: OnStep,
) -> TokenRows:
    on_step(0, len(chunks))
    found = []
    for number, (tokens, reference) in enumerate(zip(chunks, references, strict=False), 1):
        at = 0
        for block, following in _predictions(model, tokens):
            known = None if reference is None else reference.part(slice(at, at + len(following)))
            found.append(TokenRows.of(block, following, known))
            at += len(following)
        on_step(number, len(chunks))
    return TokenRows.joined(found)


def _predictions(model: ChunkModel, tokens: Sequence[int]) -> Iterator[tuple[Floats, Sequence[int]]]:
    """Yield logits [rows, n_vocab] and the tokens that follow, for all tokens of a chunk behind its first half."""
    first = len(tokens) - 1 - rows_of_chunk(len(tokens))
    for block in model.logits(tokens, first):
        following = tokens[first + 1 : first + 1 + len(block)]
        first += len(block)
        if following:  # nothing follows the last token
            yield block[: len(following)], following


def _evaluation(
    path: Path,
    engine: EngineOptions,
    rows: TokenRows,
    read: tuple[tuple[str, ...], int, int],
    reference: str | None,
) -> Evaluation:
    contents = open_all_parts(path)
    texts, chunk_tokens, n_chunks = read
    return Evaluation(
        file=path.name,
        n_bytes=contents.file_size,
        bits_per_weight=Report.of(contents).bits_per_weight or 0.0,
        cache_types=(str(engine.cache_types[0]), str(engine.cache_types[1])),
        texts=texts,
        chunk_tokens=chunk_tokens,
        n_chunks=n_chunks,
        n_tokens=rows.nll.size,
        perplexity=rows.perplexity,
        reference=reference,
        divergence=rows.divergence,
    )
