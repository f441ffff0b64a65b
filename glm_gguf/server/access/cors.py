"""What web pages of other origins may send: CORS, for the origins that the operator named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

METHODS: Final = ("GET", "POST", "DELETE", "OPTIONS")
HEADERS: Final = ("*",)


def allow_origins(app: FastAPI, origins: Sequence[str]) -> None:
    """Answer preflight requests of these origins; without any, no page of another origin may ask."""
    if origins:
        app.add_middleware(CORSMiddleware, allow_origins=origins, allow_methods=METHODS, allow_headers=HEADERS)
