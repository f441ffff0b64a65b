"""How many tokens of the next batch each sequence gets."""

from __future__ import annotations

from collections.abc import Sequence

STEP = 16
"""Pending tokens up to which a sequence counts as in decode, not in prefill: one sampled, or some forced."""

HALVED = range(8, 12)
"""Rows for which llama.cpp's tiled kernels take as long as for 16: two batches of half as many are done sooner."""


def shares(pending: Sequence[int], n_batch: int, n_chunk: int) -> list[int]:
    """Divide a batch among sequences with `pending` tokens each, in the order of their admission.

    Sequences in decode come first, with all their tokens. Beside them, all prefill together gets at most `n_chunk`
    tokens: no answer waits long for its next token. Half of the prefill goes to the oldest prompt, which so never
    starves. The rest goes to the prompts that lack least: short ones are not delayed, and equal ones finish one by
    one instead of all at the end.
    """
    given = [0] * len(pending)
    left = n_batch
    order = sorted(range(len(pending)), key=lambda index: pending[index])
    decoding = [index for index in order if pending[index] <= STEP]
    for index in decoding:
        given[index] = min(pending[index], left)
        left -= given[index]
    if decoding:
        left = min(left, n_chunk)
    prefilling = order[len(decoding) :]
    if prefilling:
        first = min(prefilling)
        given[first] = min(pending[first], (left + 1) // 2)
        left -= given[first]
    for index in prefilling:
        more = min(pending[index] - given[index], left)
        given[index] += more
        left -= more
    return given


def half(given: Sequence[int], last: Sequence[int]) -> list[int]:
    """Keep half of the shares: those of the sequences whose `last` batch is longest ago."""
    served = sorted((index for index, count in enumerate(given) if count), key=lambda index: last[index])
    kept = served[: (len(served) + 1) // 2]
    return [count if index in kept else 0 for index, count in enumerate(given)]
