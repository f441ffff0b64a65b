"""A GGUF as a source: the heads of its files, and the weights in them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from glm_gguf.convert.source.local_shards import LocalShards
from glm_gguf.gguf_file.header import MAGIC
from glm_gguf.gguf_file.parts import GgufParts, open_all_parts
from glm_gguf.regular_file import open_regular


def is_gguf(path: str | os.PathLike[str]) -> bool:
    """Whether a path means a GGUF, by its name or by the first bytes of the file."""
    named_so = os.fspath(path).endswith(".gguf")
    if named_so or not os.path.isfile(path):
        return named_so and not os.path.isdir(path)
    with open_regular(path) as file:
        return file.read(len(MAGIC)) == MAGIC


@dataclass(frozen=True, slots=True)
class GgufSource:
    """An open GGUF in one file or several, whose heads are well formed."""

    parts: GgufParts
    shards: LocalShards
    where: str
    """How an error names it: the path that was given."""

    commit = None

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Read the heads of all parts, given any of them; raises GgufError."""
        parts = open_all_parts(path)
        heads = {file.path.name: file.data_offset for file in parts.files}
        return cls(parts, LocalShards(Path(path).parent, heads), os.fspath(path))

    @property
    def origin(self) -> str:
        """How a plan describes it, in one line."""
        n_files = len(self.parts.files)
        return self.where if n_files == 1 else f"{self.where} and {n_files - 1} other parts"

    def inputs(self) -> tuple[Path, ...]:
        """The files that a conversion reads, and must not overwrite."""
        return tuple(file.path for file in self.parts.files)
