"""Waiting for another thread."""

import threading
import time
from collections.abc import Callable

PATIENCE = 60.0


def until(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait for another thread; AssertionError where it takes too long."""
    end = time.monotonic() + seconds
    wait = threading.Event()
    while not condition():
        assert time.monotonic() < end, "waited too long"
        wait.wait(0.005)
