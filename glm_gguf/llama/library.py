"""llama-cpp-python, imported only as the version whose structures and functions this room declares.

Another version has other structures: its functions would read what lies elsewhere, and end the process.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from glm_gguf.errors import EngineError, in_one_line
from glm_gguf.llama.required_version import INSTALL, VERSION

try:
    import llama_cpp
    from llama_cpp._ggml import libggml
except (ImportError, OSError, RuntimeError, AttributeError, TypeError) as error:
    # llama_cpp raises the last four where its shared libraries are missing, broken, or of another version
    what = f"llama-cpp-python cannot be loaded ({in_one_line(error)})"
    raise EngineError(what, fix=f"install it: {INSTALL}; glm-gguf doctor says more") from error

if llama_cpp.__version__ != VERSION:
    raise EngineError(
        f"llama-cpp-python {llama_cpp.__version__} is installed, this version of glm-gguf runs with {VERSION} alone",
        fix=f"install that: {INSTALL}",
    )

__all__ = ["ggml_function", "libggml", "llama_cpp"]


def ggml_function(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    """Return a function of ggml's as a new object: no other thread can change its prototype."""
    found: Callable[..., Any] = ctypes.CFUNCTYPE(result, *arguments)((name, libggml))
    return found
