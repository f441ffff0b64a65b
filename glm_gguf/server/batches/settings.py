"""Whether a server keeps batches, where, and how many."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from glm_gguf.errors import RequestError


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """Where batches and their files are kept, and their limits."""

    directory: Path
    """It belongs to one server at a time."""
    total_bytes: int = 4 * 10**9
    """Bytes of all files; further uploads are refused."""
    file_bytes: int = 200 * 10**6
    """Bytes of an upload; OpenAI's number."""
    files: int = 1000
    requests: int = 50_000
    """Requests of a batch; OpenAI's number."""
    unfinished: int = 100
    """Batches that wait or run; further ones are refused."""
    kept: int = 1000
    """Batches that are over and still listed; the oldest goes first."""
    upload_seconds: float = 600.0
    window_seconds: int = 86_400
    """Time after which a batch expires: the 24 hours of OpenAI's completion_window."""
    parallel: int = 3
    """Requests of a batch under way at once. With fewer than n_parallel, a client always finds a free slot."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if name != "directory" and not value > 0:
                raise RequestError(f"{value}", field=name, fix="give a positive number")
