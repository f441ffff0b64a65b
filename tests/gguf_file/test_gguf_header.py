"""Good GGUF files read by us as the gguf package reads them, and never worse than an error when corrupted."""

import ctypes
import importlib.util
import random
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glm_gguf.errors import GgufError
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
from tests.gguf_file.builder import ARR, BOOL, F32, F64, I8, I16, I32, I64, STR, U8, U16, U32, U64, build, entry, glm4

SECONDS_TO_READ = 2.0
"""For a vocabulary of official size, on a busy machine."""


@cache
def ggml() -> ctypes.CDLL:
    """The ggml library inside the installed llama-cpp-python, silenced."""
    spec = importlib.util.find_spec("llama_cpp")
    assert spec is not None
    assert spec.origin is not None
    library = ctypes.CDLL(str(Path(spec.origin).parent / "lib" / "libggml-base.so"))
    # int64_t ggml_blck_size(enum ggml_type); size_t ggml_type_size(...); const char * ggml_type_name(...)
    library.ggml_blck_size.restype = ctypes.c_int64
    library.ggml_type_size.restype = ctypes.c_size_t
    library.ggml_type_name.restype = ctypes.c_char_p
    # struct gguf_context * gguf_init_from_file(const char * fname, struct { bool no_alloc; struct ggml_context ** ctx; })
    library.gguf_init_from_file.restype = ctypes.c_void_p
    library.gguf_init_from_file.argtypes = [ctypes.c_char_p, InitParams]
    library.gguf_get_data_offset.restype = ctypes.c_size_t
    library.gguf_get_data_offset.argtypes = [ctypes.c_void_p]
    library.gguf_get_n_tensors.restype = ctypes.c_int64
    library.gguf_get_n_tensors.argtypes = [ctypes.c_void_p]
    library.gguf_free.argtypes = [ctypes.c_void_p]
    library.ggml_log_set.argtypes = [LOG_CALLBACK, ctypes.c_void_p]
    library.ggml_log_set(SILENT, None)
    return library


class InitParams(ctypes.Structure):
    _fields_ = (("no_alloc", ctypes.c_bool), ("ctx", ctypes.c_void_p))


# typedef void (*ggml_log_callback)(enum ggml_log_level level, const char * text, void * user_data);
LOG_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
SILENT = LOG_CALLBACK(lambda level, message, data: None)


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


EVERY_KIND = {
    "u8": (U8, 200),
    "i8": (I8, -100),
    "u16": (U16, 60000),
    "i16": (I16, -30000),
    "u32": (U32, 4_000_000_000),
    "i32": (I32, -2_000_000_000),
    "f32": (F32, 0.5),
    "bool": (BOOL, True),
    "str": (STR, "早上好 \n"),
    "u64": (U64, 2**64 - 1),
    "i64": (I64, -(2**63)),
    "f64": (F64, 0.1),
    "empty": (STR, ""),
    "numbers": (ARR, (I32, [1, -2, 3])),
    "truths": (ARR, (BOOL, [True, False])),
    "decimals": (ARR, (F32, [0.5, float("inf")])),
    "texts": (ARR, (STR, ["a", "", "Ġé"])),
    "none": (ARR, (STR, [])),
    "nested": (ARR, (ARR, [(I32, [1, 2]), (STR, ["x"])])),
}


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


def check(path: Path, raw: bytes) -> None:
    """Whatever the bytes: a GgufError, or a header that ggml itself accepts too, in little time."""
    path.write_bytes(raw)
    started = time.process_time()
    try:
        header = GgufHeader.read(path)
    except GgufError:
        return
    finally:
        assert time.process_time() - started < 1.0
    assert header.data_end <= header.file_size == len(raw)
    if any(isinstance(value, NestedArray) for value in header.metadata.values()):
        return
    context = ggml().gguf_init_from_file(str(path).encode(), InitParams(True, None))
    assert context is not None
    assert ggml().gguf_get_data_offset(context) == header.data_offset
    assert ggml().gguf_get_n_tensors(context) == len(header.tensors)
    ggml().gguf_free(context)


GOOD = glm4().encode()
SMALL = build(
    [entry(key, *value) for key, value in EVERY_KIND.items()],
    [builder.tensor("a", (3,)), builder.tensor("b", (32, 2), 8, 32)],
    b"\0" * 128,
)
BYTES = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6)
QUICK = settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("good", [GOOD, SMALL], ids=["model", "every-kind"])
@QUICK
@given(changes=BYTES)
def test_corrupted_bytes_give_an_error_or_a_file_that_ggml_accepts(
    good: bytes, changes: list[tuple[float, int]], tmp_path: Path
) -> None:
    raw = bytearray(good)
    for place, byte in changes:
        raw[int(place * len(raw))] = byte
    check(tmp_path / "corrupted.gguf", bytes(raw))


@QUICK
@given(place=st.floats(0, 1, exclude_max=True), value=st.sampled_from([0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1]))
def test_absurd_numbers_anywhere_give_an_error_or_a_file_that_ggml_accepts(
    place: float, value: int, tmp_path: Path
) -> None:
    raw, at = bytearray(SMALL), int(place * len(SMALL))
    raw[at : at + 8] = value.to_bytes(8, "little")
    check(tmp_path / "absurd.gguf", bytes(raw))


@QUICK
@given(cut=st.floats(0, 1), tail=st.binary(max_size=64))
def test_truncated_and_overwritten_ends_give_an_error_or_a_file_that_ggml_accepts(
    cut: float, tail: bytes, tmp_path: Path
) -> None:
    check(tmp_path / "cut.gguf", GOOD[: int(cut * len(GOOD))] + tail)


@QUICK
@given(raw=st.binary(max_size=200), prefix=st.sampled_from([b"", b"GGUF", b"GGUF\3\0\0\0"]))
def test_arbitrary_bytes_give_an_error_or_a_file_that_ggml_accepts(raw: bytes, prefix: bytes, tmp_path: Path) -> None:
    check(tmp_path / "noise.gguf", prefix + raw)


def test_the_good_files_are_good(tmp_path: Path) -> None:
    for raw in (GOOD, SMALL):
        check(tmp_path / "good.gguf", raw)
        assert GgufHeader.read(tmp_path / "good.gguf").tensors


def test_bytes_exchanged_between_places_give_an_error_or_a_file_that_ggml_accepts(tmp_path: Path) -> None:
    dice = random.Random(7)
    for _ in range(200):
        raw = bytearray(SMALL)
        start, other = dice.randrange(len(raw)), dice.randrange(len(raw))
        size = dice.randint(1, 24)
        raw[start : start + size] = SMALL[other : other + size]
        check(tmp_path / "spliced.gguf", bytes(raw))


OPENERS: list[Callable[[Path], object]] = [GgufHeader.read, lambda path: GgufHeader.read(str(path))]


@pytest.mark.parametrize("opener", OPENERS, ids=["path", "str"])
def test_a_path_may_be_a_string(opener: Callable[[Path], object], tmp_path: Path) -> None:
    assert opener(glm4().write(tmp_path / "good.gguf"))
