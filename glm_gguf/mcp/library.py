"""The package `mcp`, which the extra of that name installs."""

from __future__ import annotations

import importlib
import logging

from glm_gguf.errors import RequestError


def require_mcp() -> None:
    """Raise RequestError where the package cannot be imported, or is older than 2.3."""
    fix = "install it: pip install 'glm-gguf[mcp]'"
    try:
        importlib.import_module("mcp.client.client")
        importlib.import_module("mcp_types")
    except ImportError as error:
        raise RequestError(f"MCP servers need the package mcp, which cannot be imported ({error})", fix=fix) from error
    for name in ("mcp", "client"):  # they log what a server does wrong, with tracebacks; the model is told of it
        logging.getLogger(name).addHandler(logging.NullHandler())
