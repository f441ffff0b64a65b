"""The pieces of a file in order: the next ones are fetched while the first is used, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from threading import Thread

from glm_gguf.convert.source.hub.hub_client import TransferSettings

Fetch = Callable[[int, int], bytearray]
"""Returns bytes `start` to `stop` of the file; several threads call it at once."""


def prefetch(fetch: Fetch, n_bytes: int, settings: TransferSettings) -> Iterator[bytearray]:
    """All pieces of a file of `n_bytes`; raises what `fetch` raises. Closing it half-way waits for nothing."""
    ahead: deque[Future[bytearray]] = deque()
    for start in range(0, n_bytes, settings.piece_bytes):
        ahead.append(_start(fetch, start, min(start + settings.piece_bytes, n_bytes)))
        if len(ahead) == settings.connections:
            yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()


def _start(fetch: Fetch, start: int, stop: int) -> Future[bytearray]:
    """Fetch a piece on a daemon thread, for which an interpreter that ends does not wait."""
    future: Future[bytearray] = Future()

    def run() -> None:
        try:
            future.set_result(fetch(start, stop))
        except BaseException as problem:  # the reader of the piece raises it
            future.set_exception(problem)

    Thread(target=run, name="fetch", daemon=True).start()
    return future
