"""Errors of every damage to a safetensors file or its index name the file, the tensor and the number."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from checkpoints import random_tensors, write_checkpoint, write_shards
from damage import (
    LFS,
    SHARD,
    SMALL,
    change_config,
    change_header,
    choose,
    copied,
    made,
    read_shard,
    refusal,
    says,
    write_shard,
)

from glm_gguf.convert import Conversion, convert
from glm_gguf.convert.source.config import read_config
from glm_gguf.convert.source.source import Source
from glm_gguf.convert.writing.write import Silent
from glm_gguf.errors import ShardError, SourceError

NORM, HEAD, UP = "model.norm.weight", "lm_head.weight", "model.layers.1.mlp.gate_up_proj.weight"
Header = dict[str, Any]


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("good") / "model", SMALL)


@pytest.fixture
def source(single: Path, tmp_path: Path) -> Path:
    """One good file of weights, for the test to damage."""
    return copied(single, tmp_path / "model")


FILES = {
    "0-bytes": (b"", "0 bytes"),
    "7-bytes": (b"\x01" * 7, "7 bytes"),
    "8-bytes": (struct.pack("<Q", 2), "claims 2 bytes"),
    "empty-header": (struct.pack("<Q", 0), "not valid JSON"),
    "length-2^63": (struct.pack("<Q", 2**63) + b"{}", str(2**63)),
    "length-2^64-1": (struct.pack("<Q", 2**64 - 1) + b"{}", str(2**64 - 1)),
    "length-past-the-bound": (struct.pack("<Q", 100_000_001) + b"{}", "100000001"),
    "length-one-past-the-end": (struct.pack("<Q", 3) + b"{}", "claims 3 bytes"),
    "lfs-pointer": (LFS, "git lfs pull"),
    "html": (b"<!DOCTYPE html><html>Access to this model is restricted</html>", "header claims"),
    "zip": (b"PK\x03\x04" + b"\x00" * 60, "header claims"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_is_no_safetensors_is_refused(case: str, source: Path) -> None:
    data, part = FILES[case]
    (source / SHARD).write_bytes(data)
    says(refusal(source, kind=ShardError), str(source / SHARD), part)


TEXTS = {
    "array": (b"[]", "not list"),
    "number": (b"17", "not int"),
    "null": (b"null", "not NoneType"),
    "trailing": (b"{} {}", "not valid JSON"),
    "cut": (b'{"a": {"dtype": "BF', "not valid JSON"),
    "latin-1": (b'{"\xe9": {}}', "not UTF-8 at byte 2"),
    "half-a-character": (b'{"\\ud800": {}}', "half a character"),
    "duplicate-tensor": (b'{"lm_head.weight": {}, "lm_head.weight": {}}', "'lm_head.weight' occurs twice"),
    "duplicate-field": (b'{"a": {"dtype": "BF16", "dtype": "F32"}}', "'dtype' occurs twice"),
    "deep": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
    "deep-shape": (b'{"a": {"dtype": "F32", "shape": ' + b"[" * 900 + b"]" * 900 + b"}}", "impossible shape"),
    "huge-number": (b'{"a": {"shape": [' + b"9" * 5000 + b"]}}", "not valid JSON"),
    "nothing-in-it": (b"{}", "the tensors end at byte 10"),
    "spaces": (b"{}        ", "the tensors end at byte 18"),
}


@pytest.mark.parametrize("case", TEXTS)
def test_a_header_that_is_no_object_of_tensors_is_refused(case: str, source: Path) -> None:
    text, part = TEXTS[case]
    write_shard(source / SHARD, text, read_shard(source / SHARD)[1])
    says(refusal(source, kind=ShardError), str(source / SHARD), part)


ENTRIES: dict[str, tuple[object, str]] = {
    "array": ([], "no JSON object"),
    "text": ("BF16", "no JSON object"),
    "empty": ({}, "dtype"),
    "dtype-unknown": ({"dtype": "Q4_K"}, "Q4_K"),
    "dtype-number": ({"dtype": 16}, "dtype 16"),
    "dtype-list": ({"dtype": ["BF16"]}, "dtype"),
    "dtype-long": ({"dtype": "B" * 5000}, "dtype"),
    "shape-missing": ({"shape": None}, "shape None"),
    "shape-negative": ({"shape": [-1]}, "[-1]"),
    "shape-two-negatives": ({"shape": [-8, -8]}, "[-8, -8]"),
    "shape-bool": ({"shape": [True]}, "[True]"),
    "shape-float": ({"shape": [64.0]}, "[64.0]"),
    "shape-text": ({"shape": ["64"]}, "['64']"),
    "shape-number": ({"shape": 64}, "shape 64"),
    "shape-2^62-squared": ({"shape": [2**62, 2**62]}, "do not hold"),
    "shape-2^64": ({"shape": [2**64]}, str(2**64)),
    "shape-wraps-to-64": ({"shape": [2**63 + 64]}, str(2**63 + 64)),
    "shape-of-many": ({"shape": [2**62] * 100_000}, "impossible shape"),
    "shape-scalar": ({"shape": []}, "do not hold"),
    "offsets-missing": ({"data_offsets": None}, "data_offsets None"),
    "offsets-one": ({"data_offsets": [0]}, "[0]"),
    "offsets-three": ({"data_offsets": [0, 64, 128]}, "[0, 64, 128]"),
    "offsets-backwards": ({"data_offsets": [128, 0]}, "[128, 0]"),
    "offsets-negative": ({"data_offsets": [-128, 0]}, "[-128, 0]"),
    "offsets-float": ({"data_offsets": [0.0, 128.0]}, "[0.0, 128.0]"),
    "offsets-text": ({"data_offsets": "0-128"}, "'0-128'"),
    "offsets-2^63": ({"data_offsets": [2**63 - 128, 2**63]}, str(2**63)),
    "offsets-short": ({"data_offsets": [0, 64]}, "64 bytes do not hold BF16 [64]"),
}


@pytest.mark.parametrize("case", ENTRIES)
def test_an_impossible_entry_is_refused_by_the_tensors_name(case: str, source: Path) -> None:
    change, part = ENTRIES[case]

    def damage(header: Header) -> None:
        header[NORM] = {**header[NORM], **change} if isinstance(change, dict) and change else change

    change_header(source / SHARD, damage)
    says(refusal(source, kind=ShardError), SHARD, NORM, part)


def moved(by: int) -> Callable[[Header], None]:
    def damage(header: Header) -> None:
        header[HEAD]["data_offsets"] = [offset + by for offset in header[HEAD]["data_offsets"]]

    return damage


@pytest.mark.parametrize(("by", "part"), [(64, "a gap"), (-64, "an overlap"), (2**40, "a gap")])
def test_tensors_that_leave_a_gap_or_overlap_are_refused(by: int, part: str, source: Path) -> None:
    change_header(source / SHARD, moved(by))
    says(refusal(source, kind=ShardError), SHARD, part)


def test_two_tensors_in_the_same_place_are_refused(source: Path) -> None:
    change_header(source / SHARD, lambda header: header.update(twin=header[NORM]))
    says(refusal(source, kind=ShardError), SHARD, "an overlap", "twin")


@pytest.mark.parametrize("cut", [1, 128, 40_000])
def test_a_truncated_shard_is_refused(cut: int, source: Path) -> None:
    data = (source / SHARD).read_bytes()
    (source / SHARD).write_bytes(data[:-cut])
    says(refusal(source, kind=ShardError), SHARD, f"the file at byte {len(data) - cut}")


def test_bytes_after_the_last_tensor_are_refused(source: Path) -> None:
    with (source / SHARD).open("ab") as file:
        file.write(bytes(16))
    says(refusal(source, kind=ShardError), SHARD, "the tensors end at byte")


@pytest.mark.parametrize("dtype", ["I64", "F64", "BOOL"])
def test_weights_that_are_no_floats_of_16_or_32_bits_are_refused(dtype: str, source: Path) -> None:
    width = {"I64": 8, "F64": 8, "BOOL": 1}[dtype]
    header, _ = read_shard(source / SHARD)
    names = [name for name in header if name != "__metadata__"]
    offset = 0
    for name in names:
        size = header[name]["data_offsets"][1] - header[name]["data_offsets"][0]
        size = size // 2 * width if name == UP else size
        header[name]["data_offsets"] = [offset, offset + size]
        offset += size
    header[UP]["dtype"] = dtype
    write_shard(source / SHARD, header, bytes(offset))
    says(refusal(source, kind=ShardError), UP, dtype, "bf16, f16 or f32")


@pytest.mark.parametrize("shape", [[64, 192], [192 * 64], [1, 192, 64], [192, 64, 1], [96, 128]])
def test_another_shape_than_config_json_asks_for_is_refused(shape: list[int], source: Path) -> None:
    change_header(source / SHARD, lambda header: header[UP].update(shape=shape))
    says(refusal(source, kind=ShardError), UP, str(shape), "[192, 64]")


def without(name: str) -> Callable[[Header], None]:
    def damage(header: Header) -> None:
        header["model.layers.0.self_attn.rotary_emb.inv_freq"] = header.pop(name)

    return damage


@pytest.mark.parametrize("name", [NORM, HEAD, UP, "model.layers.0.post_mlp_layernorm.weight"])
def test_a_missing_tensor_is_named(name: str, source: Path) -> None:
    change_header(source / SHARD, without(name))
    says(refusal(source, kind=ShardError), repr(name), "missing")


UNKNOWN = (
    "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
    "model.layers.2.input_layernorm.weight",
    "model.layers.00.input_layernorm.weight",
    "transformer.encoder.layers.0.input_layernorm.weight",
)


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_tensor_the_model_does_not_have_is_named(name: str, source: Path) -> None:
    def damage(header: Header) -> None:
        end = max(entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__")
        header[name] = {"dtype": "F32", "shape": [4], "data_offsets": [end, end + 16]}

    header, data = read_shard(source / SHARD)
    damage(header)
    write_shard(source / SHARD, header, data + bytes(16))
    says(refusal(source, kind=ShardError), repr(name), "merge it by" if "lora" in name else "correct config.json")


@pytest.mark.parametrize(("layers", "part"), [(1, "model.layers.1."), (3, "model.layers.2.")])
def test_other_layers_than_config_json_says_are_refused(layers: int, part: str, source: Path) -> None:
    says(refusal(change_config(source, num_hidden_layers=layers), kind=ShardError), part)


def test_biases_that_config_json_does_not_announce_are_refused(tmp_path: Path) -> None:
    source = change_config(made(tmp_path / "model", bias=True), attention_bias=False)
    says(refusal(source, kind=ShardError), "_proj.bias")


def test_biases_that_config_json_announces_are_missed(source: Path) -> None:
    says(refusal(change_config(source, attention_bias=True), kind=ShardError), "_proj.bias", "missing")


METADATA = ({"format": "pt"}, None, [], {"format": 5}, "pt", {"a": {"b": []}})


@pytest.mark.parametrize("metadata", METADATA, ids=str)
def test_what_stands_in_the_metadata_of_a_header_does_not_matter(metadata: object, source: Path) -> None:
    change_header(source / SHARD, lambda header: header.update(__metadata__=metadata))
    convert(source, source.parent / "out.gguf", choose())


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
@pytest.mark.parametrize("spaces", [1, 2, 3])
def test_a_header_of_odd_length_leaves_the_same_weights(dtype: str, spaces: int, tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "model", SMALL, dtype=dtype)
    convert(source, tmp_path / "even.gguf", choose("Q4_0"))
    header, data = read_shard(source / SHARD)
    text = json.dumps(header).encode()
    write_shard(source / SHARD, text + b" " * (-len(text) % 8 + spaces), data)
    convert(source, tmp_path / "odd.gguf", choose("Q4_0"))
    assert (tmp_path / "odd.gguf").read_bytes() == (tmp_path / "even.gguf").read_bytes()


def test_no_weights_at_all_are_refused(source: Path) -> None:
    (source / SHARD).rename(source / "pytorch_model.bin")
    says(refusal(source, kind=SourceError), str(source), "no *.safetensors")


@pytest.mark.parametrize("change", ["shortened", "deleted"])
def test_a_shard_that_changes_after_the_check_is_told(change: str, source: Path) -> None:
    conversion = Conversion.prepare(Source.local(source), source.parent / "out.gguf", choose())
    if change == "shortened":
        os.truncate(source / SHARD, 5000)
    else:
        (source / SHARD).unlink()
    with pytest.raises(ShardError, match="has changed since") as caught:
        conversion.write(Silent())
    assert str(source / SHARD) in str(caught.value)
    assert sorted(path.name for path in source.parent.iterdir()) == ["model"]


def test_several_dtypes_and_shards_are_no_fault(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "model", SMALL)
    (source / SHARD).unlink()
    config = read_config(Source.local(source))
    write_shards(source, random_tensors(config, "mixed", 1), 4)
    convert(source, tmp_path / "out.gguf", choose())
