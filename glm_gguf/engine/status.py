"""Counts of an engine at one moment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """Counts of requests and of cells of the KV cache. They are read while the engine runs, and may be a step old."""

    running: int
    waiting: int
    embeddings: int
    """Texts to embed or score that wait or run."""
    cells_used: int
    """Cells that hold a token, those of cached prefixes included."""
    n_cells: int
    host_tokens: int
    """Tokens of offloaded prefixes in main memory."""
    steps: int
    """Batches computed since the start."""
    drafted: int = 0
    """Tokens of drafts that were computed since the start."""
    accepted: int = 0
    """Those that became tokens of answers, without a batch of their own."""
    failed: bool = False
    """The engine ended by an error of its own, or lost a worker, and answers no more requests."""
    worker_lost: str | None = None
    """The worker that was lost, and why, where layers of the model lay there: the model must be opened again."""
