"""llama.cpp's messages go to Python's logger `glm_gguf.llama` instead of stderr; a block can collect the errors."""

from __future__ import annotations

import ctypes
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from glm_gguf.llama.library import llama_cpp

LOGGER: Final = logging.getLogger("glm_gguf.llama")

# enum ggml_log_level of ggml.h; continued lines (5) are dots of a progress bar and the like.
GGML_LOG_LEVEL_ERROR: Final = 4
LEVELS: Final = {1: logging.DEBUG, 2: logging.INFO, 3: logging.WARNING, GGML_LOG_LEVEL_ERROR: logging.ERROR}


class _Collected(threading.local):
    """The errors that this thread collects; llama.cpp reports on the thread that called it."""

    lines: list[str] | None = None


_COLLECTED: Final = _Collected()


def _log_message(level: int, text: bytes, _: object = None) -> None:
    """Log one message; it is dropped where the application has no handler."""
    message = text.decode("utf-8", "replace").rstrip()
    if level == GGML_LOG_LEVEL_ERROR and message and _COLLECTED.lines is not None:
        _COLLECTED.lines.append(message.lstrip())
    LOGGER.log(LEVELS.get(level, logging.DEBUG), "%s", message)


# typedef void (*ggml_log_callback)(enum ggml_log_level level, const char * text, void * user_data);
_CALLBACK: Final = llama_cpp.llama_log_callback(_log_message)
# One for the whole process. Any thread may run it at any time, also while Python ends: it is never freed.
ctypes.pythonapi.Py_IncRef(ctypes.py_object(_CALLBACK))


def route_log() -> None:
    """Send llama.cpp's messages to the logger from now on, for the whole process."""
    if not LOGGER.handlers:
        LOGGER.addHandler(logging.NullHandler())  # else Python writes warnings to stderr
    llama_cpp.llama_log_set(_CALLBACK, ctypes.c_void_p(None))


@contextmanager
def collected_errors() -> Iterator[list[str]]:
    """Collect the errors that llama.cpp reports on this thread inside the block; they explain a NULL it returned.

    An inner block keeps its errors from an outer one.
    """
    before, lines = _COLLECTED.lines, list[str]()
    _COLLECTED.lines = lines
    try:
        yield lines
    finally:
        _COLLECTED.lines = before
