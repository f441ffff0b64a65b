"""Pieces of a file in order, the next ones fetched while one is used: memory stays bounded, the line stays full."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from glm_gguf.convert.hub.network import Network

Fetch = Callable[[int, int], bytearray]
"""Bytes `start` to `stop` of the file; called by several threads at once."""


@contextmanager
def read_ahead(fetch: Fetch, n_bytes: int, network: Network) -> Iterator[Iterator[bytearray]]:
    """All pieces of a file of `n_bytes`; raises what `fetch` raises. Leaving the context waits for no fetch."""
    pool = ThreadPoolExecutor(network.connections, thread_name_prefix="fetch")
    try:
        yield _pieces(pool, fetch, n_bytes, network)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _pieces(pool: ThreadPoolExecutor, fetch: Fetch, n_bytes: int, network: Network) -> Iterator[bytearray]:
    ahead: deque[Future[bytearray]] = deque()
    for start in range(0, n_bytes, network.piece_bytes):
        ahead.append(pool.submit(fetch, start, min(start + network.piece_bytes, n_bytes)))
        if len(ahead) == network.connections:
            yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()
