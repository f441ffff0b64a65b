"""The HTTP server: APIs of OpenAI's form over one loaded model.

A program serves by the names below; they are imported when they are first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glm_gguf.server.app import create_app
    from glm_gguf.server.batches.settings import BatchSettings
    from glm_gguf.server.limits import Limits
    from glm_gguf.server.settings import ServerSettings
    from glm_gguf.server.uvicorn_server import run_server

__all__ = ["BatchSettings", "Limits", "ServerSettings", "create_app", "run_server"]

_HOMES = {
    "BatchSettings": "batches.settings",
    "Limits": "limits",
    "ServerSettings": "settings",
    "create_app": "app",
    "run_server": "uvicorn_server",
}


def __getattr__(name: str) -> Any:
    """Import a public name (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"glm_gguf.server.{_HOMES[name]}"), name)
