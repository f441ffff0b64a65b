"""The packages of the extra `server`."""

from __future__ import annotations

import importlib

from glm_gguf.errors import RequestError


def require_server() -> None:
    """Raise RequestError where a package of the server is not installed."""
    for name in ("fastapi", "uvicorn", "httptools", "prometheus_client"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            fix = "install it: pip install 'glm-gguf[server]'"
            raise RequestError(f"the server needs {name}, which cannot be imported ({error})", fix=fix) from error
