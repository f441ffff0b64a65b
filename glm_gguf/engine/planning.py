"""Who gets how many tokens of the next batch."""

from __future__ import annotations

from collections.abc import Sequence

STEP = 16
"""Tokens up to which an answer counts as being written, not as a prompt being read: one drawn, or some forced."""


def shares(pending: Sequence[int], n_batch: int, n_chunk: int) -> list[int]:
    """Divide a batch among sequences that have `pending` tokens to compute each.

    What is being written goes first and whole. Prompts share what is left in equal parts, so that a short one is not
    held up by a long one; and while anything is being written, they get no more than `n_chunk` tokens together, so that
    nobody waits long for the next token.
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
    for place, index in enumerate(reading):
        fair = max(left // (len(reading) - place), min(left, 1))
        given[index] = min(pending[index], fair)
        left -= given[index]
    return given
