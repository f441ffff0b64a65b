"""Texts cut into chunks of one length, as llama-perplexity and llama-imatrix cut them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import numpy as np

from glm_gguf.errors import RequestError

DEFAULT_TOKENS: Final = 512
"""Of llama-perplexity and llama-imatrix (their -c)."""
LEAST_TOKENS: Final = 32
"""Twice the rows below which llama-imatrix takes nothing."""


@dataclass(frozen=True, slots=True)
class ChunkOptions:
    """How long a chunk is, and how many are used; None is all."""

    n_tokens: int = DEFAULT_TOKENS
    most: int | None = None

    def __post_init__(self) -> None:
        if self.n_tokens < LEAST_TOKENS:
            fix = f"give {LEAST_TOKENS} or more; llama.cpp's programs take {DEFAULT_TOKENS}"
            raise RequestError(f"chunks of {self.n_tokens} tokens", field="chunk_tokens", fix=fix)
        if self.most is not None and self.most < 1:
            raise RequestError(f"{self.most} chunks", field="chunks", fix="give 1 or more, or leave it out")


@dataclass(frozen=True, slots=True)
class Chunks:
    """Tokens in chunks of equal length; what is left at the end of the text is not used."""

    n_tokens: int
    rows: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, ids: Sequence[int], options: ChunkOptions, first_id: int | None = None) -> Chunks:
        """Cut token ids. Where the vocabulary begins every text with `first_id`, each chunk begins with it too.

        RequestError for less than one chunk.
        """
        whole = [*([] if first_id is None else [first_id]), *ids]
        size, count = options.n_tokens, len(whole) // options.n_tokens
        if not count:
            fix = f"give a longer text, or shorter chunks (chunk_tokens, at least {LEAST_TOKENS})"
            what = f"the text is too short: {len(whole)} tokens make no chunk of {size}"
            raise RequestError(what, field="data", fix=fix)
        rows = [tuple(whole[start * size : (start + 1) * size]) for start in range(min(count, options.most or count))]
        if first_id is not None:
            rows = [(first_id, *row[1:]) for row in rows]
        return cls(size, tuple(rows))

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def digest(self) -> str:
        """A hash of the tokens and of where they are cut."""
        digest = blake2b(f"{self.n_tokens}\n".encode(), digest_size=16)
        for row in self.rows:
            digest.update(np.array(row, "<i4").tobytes())
        return digest.hexdigest()
