"""An open checkpoint, in a directory or on a hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glm_gguf.convert.source.json_file import read_object
from glm_gguf.convert.source.local_shards import LocalShards
from glm_gguf.convert.source.shards import ShardSource
from glm_gguf.errors import GlmGgufError

TEMPLATE = "chat_template.jinja"
MORE_TEMPLATES, TEMPLATE_SUFFIX = "additional_chat_templates", ".jinja"
"""The folder of the templates that have names (transformers 4.51 and later), and how their files end."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of a checkpoint that is no shard: the path to read it at, and how an error names it."""

    path: Path
    where: str

    def exists(self) -> bool:
        """Whether the checkpoint has it."""
        return self.path.exists()

    def read_object(self, error: type[GlmGgufError]) -> dict[str, Any]:
        """Read the JSON object that it holds; raises `error`."""
        return read_object(self.path, error, self.where)


@dataclass(frozen=True, slots=True)
class Source:
    """An open checkpoint: its shards hold the weights, its directory everything else."""

    directory: Path
    shards: ShardSource
    where: str
    """How an error names the checkpoint: the directory, or the repository's address."""
    origin: str
    """How a plan describes the checkpoint, in one line."""
    commit: str | None = None
    """The commit of a repository on a hub."""

    @classmethod
    def local(cls, directory: Path) -> Source:
        """The checkpoint in `directory`, which need not exist."""
        return cls(directory, LocalShards(directory), str(directory), str(directory))

    def inputs(self) -> tuple[Path, ...]:
        """The files that a conversion reads, and must not overwrite."""
        return tuple(self.directory.iterdir())

    def templates(self) -> tuple[SourceFile, ...]:
        """The files with a chat template: the default one, and others whose names are the templates'."""
        others = sorted((self.directory / MORE_TEMPLATES).glob(f"*{TEMPLATE_SUFFIX}"))
        files = (self.file(TEMPLATE), *(self.file(f"{MORE_TEMPLATES}/{path.name}") for path in others))
        return tuple(file for file in files if file.exists())

    def file(self, name: str) -> SourceFile:
        """The file `name`, which need not exist."""
        return SourceFile(self.directory / name, self.shards.where(name))
