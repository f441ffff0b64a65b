"""What an adapter adds to one tensor of its base: scale · left · right."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from glm_gguf.convert.adapter.factor import Factor, Floats

_log = logging.getLogger(__name__)
STRIP_WEIGHTS = 2**17
"""Weights that are added to at once: their product in float64 stays in a core's cache."""


@dataclass(frozen=True, slots=True)
class LowRank:
    """A product of two factors, which is added to a matrix (rows, columns) of the base."""

    gguf_name: str
    left: Factor
    """(rows, rank)."""
    right: Factor
    """(rank, columns)."""
    scale: float
    digest: str
    """SHA-256 of the adapter."""
    embedding: bool = False
    """Whether the matrix is the token embedding, whose factors llama.cpp takes the other way round."""

    @property
    def identity(self) -> str:
        """A text that differs where another product would be added."""
        return f"{self.digest} × {self.scale!r}"

    @property
    def rank(self) -> int:
        """Rows of the right factor."""
        return self.right.shape[0]


@contextmanager
def one_thread_a_product(*, needed: bool) -> Iterator[None]:
    """Keep numpy's BLAS from threads of its own: each of ours computes a product, and OpenBLAS's would wait busily.

    The limit is the process's. Accelerate, which macOS has, takes none.
    """
    if not needed:
        yield
        return
    from threadpoolctl import threadpool_limits  # looks through the libraries that are loaded

    with threadpool_limits(limits=1, user_api="blas"):
        yield


def tell_of_zeros(updates: Iterable[LowRank]) -> None:
    """Warn of each adapter that adds nothing: its factors are read up to the first weights that are not 0."""
    of_file: dict[str, list[LowRank]] = {}
    for update in updates:
        of_file.setdefault(update.left.where, []).append(update)
    for where, own in of_file.items():
        if all(update.left.is_zero() or update.right.is_zero() for update in own):
            _log.warning("%s changes nothing: a factor of each product is 0, as before a training", where)


def added(values: Floats, updates: Sequence[LowRank], start: int) -> Floats:
    """Rows of a matrix from row `start` on, (rows, columns), with every update added.

    Products of two float32 are exact in float64, and so are their sums to more than 40 bits. Each weight is rounded
    to float32 once.
    """
    if not updates:
        return values
    stop = start + len(values)
    factors = [
        (
            update.left.rows(start, stop).astype(np.float64) * update.scale,
            update.right.rows(0, update.rank).astype(np.float64),
        )
        for update in updates
    ]
    result, step = np.empty_like(values), max(1, STRIP_WEIGHTS // values.shape[1])
    for first in range(0, len(values), step):
        strip = slice(first, first + step)
        total = values[strip].astype(np.float64)
        for left, right in factors:
            total += left[strip] @ right
        with np.errstate(over="ignore"):  # the caller refuses infinities
            result[strip] = total
    return result
