"""Pieces of a file in order, the next ones fetched while one is used: memory stays bounded, the line stays full."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from threading import Thread

from glm_gguf.convert.source.hub.network import Network

Fetch = Callable[[int, int], bytearray]
"""Bytes `start` to `stop` of the file; called by several threads at once."""


def read_ahead(fetch: Fetch, n_bytes: int, network: Network) -> Iterator[bytearray]:
    """All pieces of a file of `n_bytes`; raises what `fetch` raises. Who stops half-way waits for nothing."""
    ahead: deque[Future[bytearray]] = deque()
    for start in range(0, n_bytes, network.piece_bytes):
        ahead.append(_begun(fetch, start, min(start + network.piece_bytes, n_bytes)))
        if len(ahead) == network.connections:
            yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()


def _begun(fetch: Fetch, start: int, stop: int) -> Future[bytearray]:
    """A piece on its way, on a daemon thread: an interpreter that ends does not wait for a silent server."""
    future: Future[bytearray] = Future()

    def run() -> None:
        try:
            future.set_result(fetch(start, stop))
        except BaseException as problem:  # handed on to who waits for the piece
            future.set_exception(problem)

    Thread(target=run, name="fetch", daemon=True).start()
    return future
