"""Embeddings: OpenAI's schema."""

from __future__ import annotations

import base64
from typing import Literal

from glm_gguf.engine.embedding import Vector
from glm_gguf.server.bodies.wire import WireResponse


class Embedding(WireResponse):
    """One text's vector: numbers, or base64 of little-endian float32."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(WireResponse):
    """Counts of all texts together."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(WireResponse):
    """The response."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


def embedding_list(vectors: list[Vector], model: str, tokens: int, *, base64_wanted: bool) -> EmbeddingList:
    """Write vectors as OpenAI does."""
    written = [_base64(vector) if base64_wanted else vector.tolist() for vector in vectors]
    data = [Embedding(object="embedding", index=index, embedding=one) for index, one in enumerate(written)]
    usage = EmbeddingUsage(prompt_tokens=tokens, total_tokens=tokens)
    return EmbeddingList(object="list", data=data, model=model, usage=usage)


def _base64(vector: Vector) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()
