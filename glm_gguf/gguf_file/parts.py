"""A model in one GGUF file or in several: `X-00001-of-00003.gguf` and its siblings."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from glm_gguf.errors import GgufError
from glm_gguf.gguf_file.header import GgufHeader
from glm_gguf.gguf_file.tensor_list import TensorInfo
from glm_gguf.gguf_file.values import Metadata, Scalar, ValueType

# LLM_KV_SPLIT_* of llama-arch.cpp; llama.cpp aborts where a later part has another type for split.no.
NUMBER_KEY: Final = "split.no"
COUNT_KEY: Final = "split.count"
TENSORS_KEY: Final = "split.tensors.count"
SPLIT_TYPES: Final[Mapping[str, ValueType]] = {
    NUMBER_KEY: ValueType.UINT16,
    COUNT_KEY: ValueType.UINT16,
    TENSORS_KEY: ValueType.INT32,
}
SPLIT_NAME: Final = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.DOTALL)
"""llama_split_path of llama.cpp: parts are numbered from 1 in names, from 0 in split.no."""
SPLIT_PATH: Final = "{stem}-{number:05}-of-{count:05}.gguf"
FETCH_ALL: Final = "put all parts of the model, under their own names, into one directory"


@dataclass(frozen=True, slots=True)
class GgufParts:
    """All files of one model, in order; the first one holds the keys."""

    files: tuple[GgufHeader, ...]

    def __post_init__(self) -> None:
        if not self.files:
            raise ValueError("a model has at least one file")

    @property
    def first(self) -> GgufHeader:
        """The file to give to llama.cpp."""
        return self.files[0]

    @property
    def metadata(self) -> Metadata:
        """Keys of the model."""
        return self.first.metadata

    @property
    def tensors(self) -> tuple[TensorInfo, ...]:
        """Tensors of all files; an offset counts in its own file."""
        return tuple(tensor for file in self.files for tensor in file.tensors)

    @property
    def file_size(self) -> int:
        """Bytes of all files."""
        return sum(file.file_size for file in self.files)


def open_all_parts(path: str | os.PathLike[str]) -> GgufParts:
    """Read the heads of a model's files, given any of them; GgufError if one is missing or foreign."""
    given = GgufHeader.read(path)
    count = _split_value(given, COUNT_KEY) if COUNT_KEY in given.metadata else 1
    if count <= 1:
        return GgufParts((given,))
    paths = _part_paths(given.path, _split_value(given, NUMBER_KEY), count)
    missing = [part.name for part in paths if not part.exists()]
    if missing:
        shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        raise GgufError(f"{len(missing)} of {count} parts are missing: {shown}", path=path, fix=FETCH_ALL)
    files = tuple(given if part == given.path else GgufHeader.read(part) for part in paths)
    for index, file in enumerate(files):
        _check_part(file, index, count)
    _check_tensors(files)
    return GgufParts(files)


def first_by_name(path: Path) -> Path:
    """The first part of a model, by the name of any part; another name is its own first."""
    match = SPLIT_NAME.fullmatch(path.name)
    if match is None:
        return path
    return path.with_name(SPLIT_PATH.format(stem=match["stem"], number=1, count=int(match["count"])))


def _split_value(file: GgufHeader, key: str) -> int:
    """The number under a split key; GgufError if it is missing or of another type than llama.cpp reads."""
    value = file.metadata.get(key)
    if not isinstance(value, Scalar) or value.type is not SPLIT_TYPES[key]:
        state = "is missing" if value is None else "has another type"
        raise GgufError(
            f"key {key!r} {state}; a part of a split model needs it as {SPLIT_TYPES[key].label}",
            path=file.path,
            fix="split the model again with a current llama-gguf-split",
        )
    return int(value.value)


def _part_paths(path: Path, number: int, count: int) -> tuple[Path, ...]:
    """Paths of all parts, by the name of the one with this number (from 0)."""
    expected = f"-{number + 1:05}-of-{count:05}.gguf"
    match = SPLIT_NAME.fullmatch(path.name)
    if match is None or not path.name.endswith(expected):
        raise GgufError(
            f"this is part {number + 1} of {count}, but its name does not end in {expected}",
            path=path,
            fix="give the file its own name back",
        )
    names = (SPLIT_PATH.format(stem=match["stem"], number=index + 1, count=count) for index in range(count))
    return tuple(map(path.with_name, names))


def _check_part(file: GgufHeader, index: int, count: int) -> None:
    number, stated = _split_value(file, NUMBER_KEY), _split_value(file, COUNT_KEY)
    if (number, stated) != (index, count):
        raise GgufError(
            f"by its name this is part {index + 1} of {count}, by its keys part {number + 1} of {stated}",
            path=file.path,
            fix=FETCH_ALL,
        )


def _check_tensors(files: tuple[GgufHeader, ...]) -> None:
    """Raise GgufError if a tensor occurs twice, or if their number differs from the first part's."""
    owner: dict[str, Path] = {}
    for file in files:
        for tensor in file.tensors:
            if tensor.name in owner:
                raise GgufError(
                    f"tensor {tensor.name!r} is in {owner[tensor.name].name} too", path=file.path, fix=FETCH_ALL
                )
            owner[tensor.name] = file.path
    announced = _split_value(files[0], TENSORS_KEY)
    if announced != len(owner):
        raise GgufError(
            f"{announced} tensors are announced for all parts, but {len(owner)} are there",
            path=files[0].path,
            fix=FETCH_ALL,
        )
