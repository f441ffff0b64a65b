"""A model of the store: its name, its files, and where they come from."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from glm_gguf.gguf_file.parts import SPLIT_NAME, GgufParts

TYPE: Final = re.compile(r"(?:^|[-_.])((?:UD-)?(?:I?Q[1-8]_[A-Z0-9_]+|TQ[12]_0|BF16|FP?16|FP?32))$", re.IGNORECASE)
"""The file type at the end of a file's name, as llama.cpp's users write it: -Q4_K_M, .q8_0, -UD-Q4_K_XL."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a model, with its size in bytes and the hash that a hub lists for it."""

    path: Path
    n_bytes: int
    digest: str | None = None
    """In hexadecimal; None for a file that was converted here."""

    def __post_init__(self) -> None:
        if self.n_bytes < 0:
            raise ValueError(f"{self.path} has {self.n_bytes} bytes")


@dataclass(frozen=True, slots=True)
class Model:
    """A model in one GGUF or in all parts of a split one."""

    name: str
    type: str
    """The file type, such as Q4_K_M."""
    files: tuple[StoredFile, ...]
    source: str | None = None
    """hf://OWNER/NAME[@REVISION] or ms://…; None where nothing tells."""
    commit: str | None = None
    pulled: str | None = None
    """When, as in 2025-04-14T12:00:00+00:00."""
    program: str | None = None
    """The other program in whose store the files lie; None in ours."""

    def __post_init__(self) -> None:
        if not self.name or not self.files:
            raise ValueError("a model has a name and at least one file")

    @property
    def path(self) -> Path:
        """The file to open."""
        return self.files[0].path

    @property
    def n_bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.n_bytes for file in self.files)

    def is_meant_by(self, wanted: str) -> bool:
        """Tell whether a type, or the name of a file with or without .gguf, means this model."""
        names = (self.type, model_stem(self.path.name), *(file.path.name for file in self.files))
        return wanted.casefold() in (name.casefold() for name in names)

    @property
    def missing(self) -> tuple[Path, ...]:
        """Files that are gone, or have another size than they had."""
        return tuple(file.path for file in self.files if _size(file.path) != file.n_bytes)


def model_stem(name: str) -> str:
    """Return a file's name without .gguf, without the number of a part, and without folders."""
    file = PurePosixPath(name).name
    split = SPLIT_NAME.fullmatch(file)
    return split["stem"] if split else file.removesuffix(".gguf")


def named_type(name: str) -> str | None:
    """Return the file type that a file's name ends in, in upper case; None where it names none."""
    found = TYPE.search(model_stem(name))
    return found[1].upper().replace("FP", "F") if found else None


def file_type(name: str, contents: GgufParts) -> str:
    """Return the type in a file's name, else the type of most of its bytes."""
    named = named_type(name)
    if named is not None:
        return named
    sizes: dict[str, int] = {}
    for tensor in contents.tensors:
        sizes[tensor.type.name] = sizes.get(tensor.type.name, 0) + tensor.n_bytes
    return max(sizes, key=lambda type_: sizes[type_], default="unknown")


def free_name(stem: str, owner: str | None, taken: Collection[str]) -> str:
    """Return the first of STEM, OWNER-STEM, STEM-2 … that no other model has, in any case of its letters."""
    known = {name.casefold() for name in taken}
    candidates = [stem, *([f"{owner}-{stem}"] if owner else []), *(f"{stem}-{n}" for n in range(2, len(known) + 3))]
    return next(name for name in candidates if name.casefold() not in known)


def _size(path: Path) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None
