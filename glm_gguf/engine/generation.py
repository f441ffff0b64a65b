"""The simplest loop that is right: one prompt in, tokens out one by one, until a stop token or the end of room."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from glm_gguf.engine.context import Context
from glm_gguf.engine.sampler import Sampler


def generate(
    context: Context, sampler: Sampler, stop_ids: Collection[int], max_tokens: int | None = None
) -> Iterator[int]:
    """Continue what the context holds; yields every token, the one that ends the turn as the last.

    Where the last token yielded is no stop token, the answer was cut: by max_tokens or by a full context.
    Closing the iterator stops at once; the context stays usable.
    """
    count = 0
    while max_tokens is None or count < max_tokens:
        token_id = context.sample(sampler)
        count += 1
        yield token_id
        if token_id in stop_ids or context.full:
            return
        if count != max_tokens:
            context.decode([token_id])
