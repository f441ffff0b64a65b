"""What the files of a model tell without loading it, in a few values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from glm_gguf.gguf_file.contents import architecture
from glm_gguf.gguf_file.file_types import file_type
from glm_gguf.gguf_file.parts import open_all_parts
from glm_gguf.gguf_file.report import Report
from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.llama.fingerprint import fingerprint


@dataclass(frozen=True, slots=True)
class FileFacts:
    """Size, age and contents of a model's files."""

    n_bytes: int
    modified: float
    """When one of them was changed last, in seconds since 1970."""
    digest: str
    """A hash of their sizes and samples."""
    architecture: str
    file_type: str
    """The mix of types that the file states, or else the type of most of its bytes."""
    n_weights: int

    @classmethod
    def of(cls, report: Report) -> FileFacts:
        """Sum up a model whose headers are read; GlmGgufError if a file is gone."""
        contents = report.contents
        paths = tuple(file.path for file in contents.files)
        digest = fingerprint(paths, EngineOptions())  # first: it tells of a file that is gone
        return cls(
            n_bytes=sum(file.file_size for file in contents.files),
            modified=max(path.stat().st_mtime for path in paths),
            digest=digest,
            architecture=architecture(contents.metadata) or "",
            file_type=file_type(contents.metadata) or (report.types[0].name if report.types else ""),
            n_weights=report.n_weights,
        )


def read_report(path: Path) -> Report:
    """Read the headers of a model without a diagnosis; raises GgufError."""
    return Report.of(open_all_parts(path), ())


def read_facts(path: Path) -> FileFacts:
    """Read what a model's files tell; raises GgufError. They are read again if the named file was changed."""
    status = path.stat() if path.exists() else None
    return _facts(path, None if status is None else (status.st_size, status.st_mtime_ns))


@lru_cache(maxsize=256)
def _facts(path: Path, changed: tuple[int, int] | None) -> FileFacts:
    """Read them once: the headers of a 9B hold 150,000 tokens."""
    return FileFacts.of(read_report(path))
