"""What an engine is busy with, at one moment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """Counts of requests and of cells of the KV cache; read without stopping the engine, so they may be a step old."""

    running: int
    waiting: int
    embeddings: int
    """Texts that are being embedded or scored, or wait for it."""
    cells_used: int
    """Cells that hold a token, those of cached prefixes included."""
    n_cells: int
    host_tokens: int
    """Tokens of prefixes that main memory keeps."""
    steps: int
    """Batches computed since the start."""
    failed: bool = False
    """The engine ended by an error of its own: nothing is answered any more."""
