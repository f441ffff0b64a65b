"""llama.cpp's messages: to Python's logger `glm_gguf.llama` instead of stderr, and its errors to whoever asks."""

from __future__ import annotations

import ctypes
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import llama_cpp

LOGGER: Final = logging.getLogger("glm_gguf.llama")

# enum ggml_log_level of ggml.h; continued lines (5) are dots of a progress bar and the like.
GGML_LOG_LEVEL_ERROR: Final = 4
LEVELS: Final = {1: logging.DEBUG, 2: logging.INFO, 3: logging.WARNING, GGML_LOG_LEVEL_ERROR: logging.ERROR}


class _Collected(threading.local):
    """The errors that this thread collects; llama.cpp reports on the thread that called it."""

    lines: list[str] | None = None


_COLLECTED: Final = _Collected()


def _hear(level: int, text: bytes, _: object = None) -> None:
    """Pass one message on; without a handler of the application's it is heard by nobody."""
    message = text.decode("utf-8", "replace").rstrip()
    if level == GGML_LOG_LEVEL_ERROR and message and _COLLECTED.lines is not None:
        _COLLECTED.lines.append(message.lstrip())
    LOGGER.log(LEVELS.get(level, logging.DEBUG), "%s", message)


# typedef void (*ggml_log_callback)(enum ggml_log_level level, const char * text, void * user_data);
_CALLBACK: Final = llama_cpp.llama_log_callback(_hear)
# One for the whole process. Any thread may be inside it at any time, also while Python ends: it is never freed.
ctypes.pythonapi.Py_IncRef(ctypes.py_object(_CALLBACK))


def route_log() -> None:
    """Send llama.cpp's messages to the logger from now on; they go there for the whole process."""
    if not LOGGER.handlers:
        LOGGER.addHandler(logging.NullHandler())  # else Python writes warnings to stderr
    llama_cpp.llama_log_set(_CALLBACK, ctypes.c_void_p(None))


@contextmanager
def collected_errors() -> Iterator[list[str]]:
    """Collect the errors that llama.cpp reports to this thread inside the block; they tell why a NULL came back.

    A block inside another takes its errors from it.
    """
    before, lines = _COLLECTED.lines, list[str]()
    _COLLECTED.lines = lines
    try:
        yield lines
    finally:
        _COLLECTED.lines = before
