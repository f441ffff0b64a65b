"""What llama.cpp was built to use of the processor."""

from __future__ import annotations

import threading
from functools import cache
from typing import Final

import llama_cpp

_LOCK: Final = threading.Lock()


@cache
def cpu_features() -> frozenset[str]:
    """Name the features as llama.cpp tells them: "CPU : SSE3 = 1 | AVX2 = 1 | ..."."""
    # const char * llama_print_system_info(void): it writes into one string of the process, one thread at a time
    with _LOCK:
        told = llama_cpp.llama_print_system_info().decode()
    parts = told.replace(":", "|").split("|")
    return frozenset(name.strip() for name, _, value in (part.partition("=") for part in parts) if value.strip() == "1")
