"""Importance matrices: both forms give the same values, keys name their origin, and the mixes depend on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from checkpoints import write_checkpoint
from gguf import GGUFReader, GGUFWriter

from glm_gguf.convert import ConvertOptions, TypeChoices, convert
from glm_gguf.convert.recipe.imatrix import Imatrix

Entries = dict[str, np.ndarray]


def entries() -> Entries:
    rng = np.random.default_rng(1)
    return {name: rng.gamma(1.0, 2.0, n).astype(np.float32) for name, n in (("blk.0.attn_q.weight", 256), ("x", 7))}


def write_gguf(path: Path, sums: Entries, count: float = 8.0) -> Path:
    """A GGUF as llama-imatrix writes it: sums of squares, and the number of summed tokens."""
    writer = GGUFWriter(path, "imatrix")
    writer.kv_data[0].clear()
    writer.add_string("general.type", "imatrix")
    writer.add_array("imatrix.datasets", ["wiki.txt"])
    writer.add_uint32("imatrix.chunk_count", 5)
    writer.add_uint32("imatrix.chunk_size", 512)
    for name, values in sums.items():
        writer.add_tensor(f"{name}.in_sum2", values)
        writer.add_tensor(f"{name}.counts", np.array([[count]], np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_dat(path: Path, values: Entries, calls: int, *, trailer: bytes = b"") -> Path:
    with path.open("wb") as file:
        file.write(np.int32(len(values)).tobytes())
        for name, data in values.items():
            file.write(np.int32(len(name)).tobytes() + name.encode())
            file.write(np.array([calls, data.size], np.int32).tobytes() + data.tobytes())
        file.write(trailer)
    return path


def test_the_gguf_form_is_the_mean_over_tokens(tmp_path: Path) -> None:
    imatrix = Imatrix.read(write_gguf(tmp_path / "imatrix.gguf", entries()))
    assert (imatrix.n_chunks, imatrix.datasets) == (5, ("wiki.txt",))
    assert imatrix.entries.keys() == entries().keys()
    for name, values in entries().items():
        assert np.array_equal(imatrix.entries[name], values / np.float32(8))


def test_the_dat_form_is_the_mean_over_calls(tmp_path: Path) -> None:
    trailer = np.array([5, 8], np.int32).tobytes() + b"wiki.txt"
    imatrix = Imatrix.read(write_dat(tmp_path / "imatrix.dat", entries(), 8, trailer=trailer))
    assert (imatrix.n_chunks, imatrix.datasets) == (5, ("wiki.txt",))
    for name, values in entries().items():
        assert np.array_equal(imatrix.entries[name], values / np.float32(8))


def test_the_oldest_dat_files_end_after_the_entries(tmp_path: Path) -> None:
    imatrix = Imatrix.read(write_dat(tmp_path / "imatrix.dat", entries(), 0))
    assert (imatrix.n_chunks, imatrix.datasets) == (0, ())
    assert np.array_equal(imatrix.entries["x"], entries()["x"])


def test_columns_that_no_token_reached_weigh_alike(tmp_path: Path) -> None:
    imatrix = Imatrix.read(write_gguf(tmp_path / "imatrix.gguf", entries(), count=0.0))
    assert np.array_equal(imatrix.entries["x"], np.ones(7, np.float32))


@pytest.mark.parametrize("form", ["gguf", "dat"])
def test_a_converted_file_notes_where_the_importance_came_from(form: str, tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "model")
    named = {"blk.0.attn_q.weight": entries()["blk.0.attn_q.weight"]}
    trailer = np.array([5, 8], np.int32).tobytes() + b"wiki.txt"
    path = tmp_path / f"imatrix.{form}"
    imatrix = write_gguf(path, named) if form == "gguf" else write_dat(path, named, 8, trailer=trailer)
    (out,) = convert(source, tmp_path / "out.gguf", ConvertOptions(types=TypeChoices(imatrix=imatrix)))
    fields = GGUFReader(out).fields
    prefix = "quantize.imatrix."
    found = {key.removeprefix(prefix): field.contents() for key, field in fields.items() if key.startswith(prefix)}
    assert found == {"file": str(imatrix)[:127], "dataset": "wiki.txt", "entries_count": 1, "chunks_count": 5}


def test_both_forms_give_the_same_tensors(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "model")
    named = {"blk.0.attn_q.weight": entries()["blk.0.attn_q.weight"]}
    made = []
    for path in (write_gguf(tmp_path / "a.gguf", named), write_dat(tmp_path / "b.dat", named, 8)):
        (out,) = convert(source, tmp_path / f"{path.stem}.out.gguf", ConvertOptions(types=TypeChoices(imatrix=path)))
        made.append([tensor.data.tobytes() for tensor in GGUFReader(out).tensors])
    assert made[0] == made[1]
