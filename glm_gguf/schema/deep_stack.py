"""A stack that no grammar exhausts: llguidance recurses along references, and a full stack ends the whole process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, TypeVar

T = TypeVar("T")
STACK_BYTES: Final = 512 * 2**20
"""Address space, not memory: 20,000 schemas (limits.MOST_USED) at 9 kB each on x86-64, and as much again."""
_SIZING: Final = threading.Lock()


def on_deep_stack(function: Callable[[], T]) -> T:
    """Run a function on a new thread with a stack of STACK_BYTES; return or raise what it does."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    with _SIZING:  # the size is that of every thread that starts meanwhile
        usual = threading.stack_size(STACK_BYTES)
        try:
            threading.Thread(target=run, name="grammar compiler", daemon=True).start()
        finally:
            threading.stack_size(usual)
    return future.result()
