"""Who gets how many tokens of the next batch."""

from __future__ import annotations

from collections.abc import Sequence

STEP = 16
"""Tokens up to which an answer counts as being written, not as a prompt being read: one drawn, or some forced."""

HALVED = range(8, 12)
"""Rows that llama.cpp's tiled kernels take as long for as for 16: two batches of half as many are done sooner."""


def shares(pending: Sequence[int], n_batch: int, n_chunk: int) -> list[int]:
    """Divide a batch among sequences, in the order they came, that have `pending` tokens to compute each.

    What is being written goes first and whole; while anything is, prompts get no more than `n_chunk` tokens together,
    so that nobody waits long for the next token. Half goes to the prompt that came first, so that it is never starved,
    and the rest to those that lack least: a short one is not held up, and equal ones are done one by one instead of
    all at the end.
    """
    given = [0] * len(pending)
    left = n_batch
    order = sorted(range(len(pending)), key=lambda index: pending[index])
    writing = [index for index in order if pending[index] <= STEP]
    for index in writing:
        given[index] = min(pending[index], left)
        left -= given[index]
    if writing:
        left = min(left, n_chunk)
    reading = order[len(writing) :]
    if reading:
        first = min(reading)
        given[first] = min(pending[first], (left + 1) // 2)
        left -= given[first]
    for index in reading:
        more = min(pending[index] - given[index], left)
        given[index] += more
        left -= more
    return given


def half(given: Sequence[int], last: Sequence[int]) -> list[int]:
    """Keep the shares of half of those that got one: whose `last` batch is longest ago."""
    served = sorted((index for index, count in enumerate(given) if count), key=lambda index: last[index])
    kept = served[: (len(served) + 1) // 2]
    return [count if index in kept else 0 for index, count in enumerate(given)]
