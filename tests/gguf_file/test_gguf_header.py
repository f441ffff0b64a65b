"""Our reader agrees with the gguf package and ggml on good GGUF files."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from glm_gguf.gguf_file.ggml_types import REMOVED, TYPE_COUNT, TYPES
from glm_gguf.gguf_file.header import GgufHeader
from glm_gguf.gguf_file.values import (
    Array,
    NestedArray,
    NumberArray,
    Scalar,
    Text,
    TextArray,
    ValueType,
    decimal,
    integer,
    numbers,
    text,
    texts,
    truth,
    type_label,
)
from tests.gguf_file import builder
from tests.gguf_file.builder import ARR, EVERY_KIND, I32, STR, U8, build, entry, glm4
from tests.gguf_file.ggml_library import ggml

SECONDS_TO_READ = 2.0
"""Seconds for a vocabulary of official size, on a busy machine."""


def test_the_table_of_types_is_ggmls_own() -> None:
    for number in range(TYPE_COUNT):
        if number in TYPES:
            kind = TYPES[number]
            assert kind.name == ggml().ggml_type_name(number).decode()
            assert kind.block_size == ggml().ggml_blck_size(number)
            assert kind.block_bytes == ggml().ggml_type_size(number)
        else:
            assert number in REMOVED
            assert ggml().ggml_blck_size(number) == 0


def test_the_table_of_types_covers_the_gguf_package() -> None:
    assert {int(kind) for kind in gguf.GGMLQuantizationType} <= set(TYPES)


def everything(path: Path) -> GgufHeader:
    path.write_bytes(build([entry(key, *value) for key, value in EVERY_KIND.items()]))
    return GgufHeader.read(path)


@pytest.mark.parametrize("key", EVERY_KIND)
def test_every_kind_of_value_is_read_with_its_type(key: str, tmp_path: Path) -> None:
    kind, expected = EVERY_KIND[key]
    value = everything(tmp_path / "all.gguf").metadata[key]
    match value:
        case Scalar():
            assert (value.type, value.value) == (kind, expected)
            assert type(value.value) is type(expected)
            assert type_label(value) == key
        case Text():
            assert (kind, value.value) == (STR, expected)
        case _:
            assert kind == ARR
            assert described(value) == expected


def described(array: Array) -> tuple[int, list[Any]]:
    match array:
        case NumberArray():
            return int(array.item_type), list(array.items)
        case TextArray():
            return STR, list(array.items)
        case NestedArray():
            return ARR, [described(inner) for inner in array.items]


def test_values_are_found_by_type_and_not_otherwise(tmp_path: Path) -> None:
    metadata = everything(tmp_path / "all.gguf").metadata
    assert (text(metadata, "str"), text(metadata, "u8"), text(metadata, "absent")) == ("早上好 \n", None, None)
    assert (integer(metadata, "u8"), integer(metadata, "bool"), integer(metadata, "f32")) == (200, None, None)
    assert (decimal(metadata, "f32"), decimal(metadata, "u8")) == (0.5, None)
    assert (truth(metadata, "bool"), truth(metadata, "u8")) == (True, None)
    assert (texts(metadata, "none"), texts(metadata, "numbers")) == ((), None)
    assert (numbers(metadata, "numbers"), numbers(metadata, "texts")) == ((1, -2, 3), None)


def test_the_numbers_of_value_types_are_those_of_the_gguf_package() -> None:
    assert {kind.name: int(kind) for kind in ValueType} == {kind.name: int(kind) for kind in gguf.GGUFValueType}


def write_with_gguf_package(path: Path, alignment: int | None) -> None:
    writer = gguf.GGUFWriter(path, "glm4")
    if alignment:
        writer.add_custom_alignment(alignment)
    writer.add_name("naïve 模型")
    writer.add_block_count(40)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_add_bos_token(False)
    writer.add_token_list(["a", "Ġb", "<|user|>"])
    writer.add_token_types([1, 1, 3])
    writer.add_array("floats", [0.25, -1.5])
    writer.add_uint64("u64", 2**63)
    writer.add_int16("i16", -5)
    dice = np.random.default_rng(5)
    writer.add_tensor("matrix", dice.normal(size=(3, 64)).astype(np.float32))
    writer.add_tensor("half", dice.normal(size=(2, 3, 5)).astype(np.float16))
    writer.add_tensor("norm", np.ones(7, np.float32))
    writer.add_tensor("q8", np.zeros((4, 68), np.uint8), raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("alignment", [None, 8, 64, 4096], ids=["default", "8", "64", "4096"])
def test_a_file_is_read_as_the_gguf_package_reads_it(alignment: int | None, tmp_path: Path) -> None:
    path = tmp_path / "good.gguf"
    write_with_gguf_package(path, alignment)
    header, reader = GgufHeader.read(path), gguf.GGUFReader(path)
    fields = {key: field for key, field in reader.fields.items() if not key.startswith("GGUF.")}
    assert list(header.metadata) == list(fields)
    for key, field in fields.items():
        assert plain(header.metadata[key]) == field.contents(), key
    assert [
        (tensor.name, tensor.shape, tensor.type.id, tensor.offset, tensor.n_bytes, tensor.n_elements)
        for tensor in header.tensors
    ] == [
        (tensor.name, tuple(tensor.shape), tensor.tensor_type, tensor.data_offset, tensor.n_bytes, tensor.n_elements)
        for tensor in reader.tensors
    ]
    assert (header.data_offset, header.alignment) == (reader.data_offset, reader.alignment)
    assert (header.version, header.file_size) == (3, path.stat().st_size)


def plain(value: object) -> object:
    match value:
        case Scalar() | Text():
            return value.value
        case NumberArray() | TextArray():
            return list(value.items)
        case _:
            raise AssertionError(value)


def test_version_2_is_read_like_version_3(tmp_path: Path) -> None:
    raw = glm4().encode()
    (tmp_path / "2.gguf").write_bytes(raw[:4] + b"\2" + raw[5:])
    glm4().write(tmp_path / "3.gguf")
    old, new = GgufHeader.read(tmp_path / "2.gguf"), GgufHeader.read(tmp_path / "3.gguf")
    assert (old.version, old.metadata, old.tensors) == (2, new.metadata, new.tensors)


def test_the_last_tensor_need_not_be_padded(tmp_path: Path) -> None:
    path = tmp_path / "short.gguf"
    path.write_bytes(build([], [builder.tensor("t", (3,))], b"\0" * 12))
    header = GgufHeader.read(path)
    assert header.data_end == header.file_size


def test_a_file_without_tensors_is_not_padded(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.gguf"
    path.write_bytes(build([entry("a", U8, 1)]))
    header = GgufHeader.read(path)
    assert header.data_offset == header.file_size == path.stat().st_size


def test_the_header_cannot_be_changed(tmp_path: Path) -> None:
    header = GgufHeader.read(glm4().write(tmp_path / "good.gguf"))
    with pytest.raises(TypeError):
        header.metadata["a"] = Text("b")  # type: ignore[index]


def test_a_vocabulary_of_official_size_is_read_in_a_moment(tmp_path: Path) -> None:
    model = glm4()
    model.keys["tokenizer.ggml.tokens"] = (ARR, (STR, [f"Ġtoken{index}" for index in range(151_552)]))
    model.keys["tokenizer.ggml.token_type"] = (ARR, (I32, [1] * 151_552))
    model.keys["tokenizer.ggml.merges"] = (ARR, (STR, [f"Ġa{index} b" for index in range(318_088)]))
    path = model.write(tmp_path / "large.gguf")
    started = time.process_time()
    header = GgufHeader.read(path)
    assert time.process_time() - started < SECONDS_TO_READ
    assert (texts(header.metadata, "tokenizer.ggml.merges") or ())[-1] == "Ġa318087 b"


OPENERS: list[Callable[[Path], object]] = [GgufHeader.read, lambda path: GgufHeader.read(str(path))]


@pytest.mark.parametrize("opener", OPENERS, ids=["path", "str"])
def test_a_path_may_be_a_string(opener: Callable[[Path], object], tmp_path: Path) -> None:
    assert opener(glm4().write(tmp_path / "good.gguf"))
