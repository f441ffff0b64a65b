"""What llama.cpp was built to use of the processor."""

from __future__ import annotations

from functools import cache

import llama_cpp


@cache
def cpu_features() -> frozenset[str]:
    """Name the features as llama.cpp tells them: "CPU : SSE3 = 1 | AVX2 = 1 | ..."."""
    # const char * llama_print_system_info(void)
    parts = llama_cpp.llama_print_system_info().decode().replace(":", "|").split("|")
    return frozenset(name.strip() for name, _, value in (part.partition("=") for part in parts) if value.strip() == "1")
