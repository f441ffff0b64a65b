"""Errors of a missing, damaged or foreign importance matrix name the entry and the number."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import Shape, write_checkpoint
from damage import SMALL, choose, refusal, says
from gguf import GGUFReader, GGUFWriter

from glm_gguf.convert import ConvertOptions, TypeChoices, convert
from glm_gguf.convert.recipe.imatrix import MAX_BYTES
from glm_gguf.errors import GgufError, ImatrixError, OutputError

NAME = "blk.1.attn_q.weight"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("good") / "model", SMALL)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with rows of 256 weights, which the types that need an imatrix require."""
    return write_checkpoint(tmp_path_factory.mktemp("good") / "model", Shape(layers=1, heads=4, ffn=256))


def entries(columns: int = 64) -> dict[str, np.ndarray]:
    """Importance of the tensors in the tests."""
    return {name: np.ones(columns, np.float32) for name in (NAME, "blk.0.attn_q.weight")}


def dat(values: dict[str, np.ndarray], calls: int = 1, trailer: bytes = b"") -> bytes:
    data = struct.pack("<i", len(values))
    for name, columns in values.items():
        data += struct.pack("<i", len(name.encode())) + name.encode()
        data += struct.pack("<ii", calls, columns.size) + columns.astype(np.float32).tobytes()
    return data + trailer


def write_gguf(path: Path, tensors: dict[str, np.ndarray], type_: str = "imatrix", chunks: int = 5) -> Path:
    writer = GGUFWriter(path, "imatrix")
    writer.kv_data[0].clear()
    writer.add_string("general.type", type_)
    writer.add_array("imatrix.datasets", ["wiki.txt"])
    writer.add_uint64("imatrix.chunk_count", chunks)
    for name, values in tensors.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def summed(values: object = 1.0, count: object = 8.0, *, dtype: Any = np.float32) -> dict[str, np.ndarray]:
    sums = np.full(64, values, dtype)
    return {f"{NAME}.in_sum2": sums, f"{NAME}.counts": np.array([[count]], np.float32)}


@pytest.mark.parametrize("type_", ["IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "Q2_K_S"])
def test_a_type_that_needs_an_imatrix_says_so(type_: str, wide: Path) -> None:
    says(refusal(wide, choose(type_), kind=ImatrixError), type_, "blk.0.", "imatrix")


def test_an_imatrix_without_an_entry_that_is_needed_says_which(wide: Path, tmp_path: Path) -> None:
    (tmp_path / "some.dat").write_bytes(dat({"blk.0.attn_k.weight": np.ones(256)}))
    options = choose("IQ2_XXS", imatrix=tmp_path / "some.dat")
    says(refusal(wide, options, kind=ImatrixError), "some.dat", "no entry", "blk.0.")


def test_a_forced_type_that_needs_an_imatrix_says_so(wide: Path) -> None:
    options = choose("Q8_0", tensor_types=(("attn_q", "IQ2_XS"),))
    says(refusal(wide, options, kind=ImatrixError), "blk.0.attn_q.weight", "IQ2_XS", "imatrix")


nan = float("nan")
ONE = dat(entries())
DATS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "number of entries"),
    "3-bytes": (b"\x01\x00\x00", "number of entries"),
    "no-entries": (struct.pack("<i", 0), "0 entries"),
    "negative-entries": (struct.pack("<i", -1), "-1 entries"),
    "huge-entries": (struct.pack("<i", 2**31 - 1), "name length"),
    "cut-in-a-name": (ONE[:12], "a name"),
    "cut-in-values": (ONE[:100], "64 values"),
    "cut-in-the-last": (ONE[:-1], "64 values"),
    "name-negative": (struct.pack("<ii", 1, -5) + bytes(100), "a name"),
    "name-huge": (struct.pack("<ii", 1, 2**31 - 1) + bytes(100), str(2**31 - 1)),
    "name-latin-1": (struct.pack("<ii", 1, 1) + b"\xe9" + bytes(100), "not UTF-8"),
    "values-negative": (struct.pack("<ii1sii", 1, 1, b"a", 1, -1) + bytes(100), "-1 values"),
    "values-huge": (struct.pack("<ii1sii", 1, 1, b"a", 1, 2**31 - 1) + bytes(100), str(2**31 - 1)),
    "nan": (dat(entries() | {NAME: np.full(64, nan)}), f"{NAME!r} holds nan"),
    "infinity": (dat(entries() | {NAME: np.full(64, np.inf)}), f"{NAME!r} holds inf"),
    "negative": (dat(entries() | {NAME: np.full(64, -1.0)}), f"{NAME!r} holds -1"),
    "past-float32": (dat(entries() | {NAME: np.full(64, 3e38)}), f"{NAME!r} holds 3"),
    "narrow": (dat(entries() | {NAME: np.ones(63)}), "63 values, the tensor 64 columns"),
    "wide": (dat(entries() | {NAME: np.ones(128)}), "128 values, the tensor 64 columns"),
    "no-values": (dat(entries() | {NAME: np.ones(0)}), "0 values, the tensor 64 columns"),
    "dataset-cut": (dat(entries(), trailer=struct.pack("<ii", 5, 100)), "a name"),
    "dataset-negative": (dat(entries(), trailer=struct.pack("<ii", 5, -1)), "a name"),
    "text": (b"this is a text, nothing else", "this is no importance matrix"),
}


@pytest.mark.parametrize("case", DATS)
def test_a_dat_that_cannot_be_is_refused(case: str, good: Path, tmp_path: Path) -> None:
    data, part = DATS[case]
    (tmp_path / "imatrix.dat").write_bytes(data)
    says(refusal(good, choose(imatrix=tmp_path / "imatrix.dat"), kind=ImatrixError), "imatrix.dat", part)


GGUFS: dict[str, tuple[dict[str, np.ndarray], str]] = {
    "no-tensors": ({}, "no entry"),
    "no-counts": ({f"{NAME}.in_sum2": np.ones(64, np.float32)}, "no single count"),
    "two-counts": ({**summed(), f"{NAME}.counts": np.ones((2, 1), np.float32)}, "no single count"),
    "nan": (summed(nan), f"{NAME!r} holds nan"),
    "infinite-mean": (summed(3e38, 1e-30), f"{NAME!r} holds inf"),
    "nan-count": (summed(1.0, nan), "count nan"),
    "negative-count": (summed(1.0, -8.0), "count -8"),
    "negative": (summed(-1.0), f"{NAME!r} holds -0.125"),
    "half-precision": (summed(dtype=np.float16), "f16"),
    "narrow": ({**summed(), f"{NAME}.in_sum2": np.ones(32, np.float32)}, "32 values, the tensor 64 columns"),
}


@pytest.mark.parametrize("case", GGUFS)
def test_a_gguf_imatrix_that_cannot_be_is_refused(case: str, good: Path, tmp_path: Path) -> None:
    tensors, part = GGUFS[case]
    path = write_gguf(tmp_path / "imatrix.gguf", tensors)
    says(refusal(good, choose(imatrix=path), kind=ImatrixError), "imatrix.gguf", part)


def test_a_gguf_that_is_a_model_is_no_imatrix(good: Path, tmp_path: Path) -> None:
    convert(good, tmp_path / "model.gguf", choose())
    says(refusal(good, choose(imatrix=tmp_path / "model.gguf"), kind=ImatrixError), "model.gguf", "no importance")


@pytest.mark.parametrize("keep", [4, 20, 100, 300])
def test_a_truncated_gguf_imatrix_is_refused(keep: int, good: Path, tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "imatrix.gguf", summed())
    os.truncate(path, keep)
    says(refusal(good, choose(imatrix=path), kind=GgufError), "imatrix.gguf")


def test_a_chunk_count_that_no_gguf_can_repeat_is_refused(good: Path, tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "imatrix.gguf", summed(), chunks=2**40)
    says(refusal(good, choose(imatrix=path), kind=ImatrixError), "chunk_count", str(2**40))


@pytest.mark.parametrize("name", ["nowhere.dat", ".", "x" * 300])
def test_an_imatrix_that_is_no_file_is_told(name: str, good: Path, tmp_path: Path) -> None:
    says(refusal(good, choose(imatrix=tmp_path / name), kind=ImatrixError), str(tmp_path / name), "cannot be read")


def test_weights_given_as_imatrix_are_not_read_whole(good: Path, tmp_path: Path) -> None:
    with (tmp_path / "weights").open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # a hole: it takes no space
    with pytest.raises(ImatrixError, match="more than 1,073,741,824 bytes; this is no importance matrix"):
        convert(good, tmp_path / "out.gguf", choose(imatrix=tmp_path / "weights"))


def test_an_imatrix_at_a_path_that_is_no_utf_8_is_noted(good: Path, tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.dat"))
    try:
        path.write_bytes(dat(entries()))
    except (OSError, UnicodeError):
        pytest.skip("this file system takes UTF-8 names only")
    convert(good, tmp_path / "out.gguf", choose(imatrix=path))
    keys = GGUFReader(tmp_path / "out.gguf").fields
    assert keys["quantize.imatrix.file"].contents().endswith("/?.dat")


def test_the_output_must_not_be_an_input(good: Path, tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "imatrix.gguf", summed())
    options = ConvertOptions(types=TypeChoices(type="Q8_0", imatrix=path), force=True)
    before = path.read_bytes()
    with pytest.raises(OutputError, match="an input"):
        convert(good, path, options)
    assert path.read_bytes() == before
