"""Damage to a good checkpoint, and the one clear error that must follow."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import Shape, stored, write_checkpoint

from glm_gguf.convert import ConvertOptions, TypeChoices, convert
from glm_gguf.errors import GlmGgufError

SMALL = Shape(hidden=64, ffn=96, layers=2, heads=2, kv_heads=1, head_dim=32, vocab=300)
"""The least that Q8_0 rows divide into; converts in some hundredths of a second."""

SHARD = "model.safetensors"
INDEX = "model.safetensors.index.json"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22e\nsize 4949453792\n"


def copied(good: Path, directory: Path) -> Path:
    """A copy of the checkpoint `good`, to be damaged."""
    return Path(shutil.copytree(good, directory))


def made(directory: Path, **fields: Any) -> Path:
    """A small checkpoint with other fields of its Shape."""
    return write_checkpoint(directory, Shape(**{**SMALL.__dict__, **fields}))


def choose(type_: str = "Q8_0", **choices: Any) -> ConvertOptions:
    """Options of a fast conversion."""
    return ConvertOptions(types=TypeChoices(type=type_, **choices), threads=2)


def refusal(
    source: Path,
    options: ConvertOptions | None = None,
    *,
    out: Path | None = None,
    kind: type[GlmGgufError] = GlmGgufError,
) -> str:
    """The one line of the error of converting `source`; no file beside or below it may change."""
    around = files_below(source.parent)
    with pytest.raises(kind) as caught:
        convert(source, out or source.parent / "out.gguf", options or choose())
    assert files_below(source.parent) == around
    line = str(caught.value)
    assert caught.value.what
    assert caught.value.field or caught.value.path or caught.value.where
    assert line.isprintable(), line
    assert len(line) < 2000
    return line


def says(line: str, *parts: str) -> None:
    """Assert that an error names every one of `parts`."""
    missing = [part for part in parts if part not in line]
    assert not missing, f"{missing} not in {line!r}"


def files_below(directory: Path) -> dict[Path, tuple[int, int, bytes]]:
    """Path → inode, time and bytes of everything below, links and broken links included."""
    found = {}
    for path in directory.rglob("*"):
        status = path.lstat()
        data = path.read_bytes() if path.is_file() else b""
        found[path] = (status.st_ino, status.st_mtime_ns, data)
    return found


def change_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Let `change` work on the JSON object in a file."""
    value = json.loads(path.read_text("utf-8"))
    change(value)
    path.write_text(json.dumps(value), "utf-8")


def change_config(source: Path, **fields: Any) -> Path:
    """Set fields of config.json; ... removes one."""

    def change(config: dict[str, Any]) -> None:
        config.update(fields)
        for key in [key for key, value in fields.items() if value is ...]:
            del config[key]

    change_json(source / "config.json", change)
    return source


def read_shard(path: Path) -> tuple[dict[str, Any], bytes]:
    """Header and data of a safetensors file."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def write_shard(path: Path, header: object, data: bytes) -> None:
    """A safetensors file with any header: an object to dump, or its bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def change_header(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Let `change` work on the header of a safetensors file; the data stays."""
    header, data = read_shard(path)
    change(header)
    write_shard(path, header, data)


def set_weights(path: Path, name: str, values: Mapping[tuple[int, ...], float]) -> None:
    """Overwrite single weights of the tensor `name`, index → value."""
    header, data = read_shard(path)
    begin, end = header[name]["data_offsets"]
    dtype = header[name]["dtype"]
    array = np.frombuffer(data[begin:end], {"BF16": "<u2", "F16": "<f2", "F32": "<f4"}[dtype])
    array = array.reshape(header[name]["shape"]).copy()
    for index, value in values.items():
        with np.errstate(all="ignore"):
            array[index] = stored(np.array([value], np.float32), dtype)[0] if np.isfinite(value) else bits(value, dtype)
    write_shard(path, header, data[:begin] + array.tobytes() + data[end:])


def bits(value: float, dtype: str) -> Any:
    """NaN or an infinity as stored in `dtype`."""
    single = np.array([value], np.float32)
    return (single.view(np.uint32) >> 16).astype(np.uint16)[0] if dtype == "BF16" else single[0]


def command_line(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `glm-gguf` as a user does, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "glm_gguf", *map(str, arguments)],
        **{"capture_output": True, "text": True, "timeout": 120, "check": False, **options},
    )


def root() -> bool:
    """Whether this process may mount, and passes over permissions."""
    return hasattr(os, "geteuid") and os.geteuid() == 0
