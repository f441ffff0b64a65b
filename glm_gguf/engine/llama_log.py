"""llama.cpp's messages: to Python's logger `glm_gguf.llama` instead of stderr, and its errors to whoever asks."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import llama_cpp

LOGGER: Final = logging.getLogger("glm_gguf.llama")

# enum ggml_log_level of ggml.h; continued lines (5) are dots of a progress bar and the like.
GGML_LOG_LEVEL_ERROR: Final = 4
LEVELS: Final = {1: logging.DEBUG, 2: logging.INFO, 3: logging.WARNING, GGML_LOG_LEVEL_ERROR: logging.ERROR}


def _to_logger(level: int, text: bytes, _: object = None) -> None:
    """Pass one message on; without a handler of the application's it is heard by nobody."""
    LOGGER.log(LEVELS.get(level, logging.DEBUG), "%s", text.decode("utf-8", "replace").rstrip())


# typedef void (*ggml_log_callback)(enum ggml_log_level level, const char * text, void * user_data);
_CALLBACK: Final = llama_cpp.llama_log_callback(_to_logger)


def route_log() -> None:
    """Send llama.cpp's messages to the logger from now on; they go there for the whole process."""
    if not LOGGER.handlers:
        LOGGER.addHandler(logging.NullHandler())  # else Python writes warnings to stderr
    llama_cpp.llama_log_set(_CALLBACK, ctypes.c_void_p(None))


@contextmanager
def collected_errors() -> Iterator[list[str]]:
    """Collect the errors that llama.cpp reports inside the block; they tell why a NULL came back."""
    lines: list[str] = []

    def collect(level: int, text: bytes, _: object) -> None:
        line = text.decode("utf-8", "replace").strip()
        if level == GGML_LOG_LEVEL_ERROR and line:
            lines.append(line)
        _to_logger(level, text)

    callback = llama_cpp.llama_log_callback(collect)
    llama_cpp.llama_log_set(callback, ctypes.c_void_p(None))
    try:
        yield lines
    finally:
        route_log()
