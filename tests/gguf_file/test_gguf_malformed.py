"""Each malformed GGUF file gives one error that says what is wrong and where."""

import os
import struct
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from glm_gguf.errors import GgufError
from glm_gguf.gguf_file.header import GgufHeader
from tests.gguf_file.builder import (
    ARR,
    BOOL,
    I32,
    STR,
    U8,
    U16,
    U32,
    U64,
    build,
    entry,
    glm4,
    head,
    raw_entry,
    tensor,
    text,
)

HUGE = 2**64 - 1
ONE = b"\0" * 16


def u64(value: int) -> bytes:
    return struct.pack("<Q", value)


def array(item_kind: int, count: int, items: bytes = b"") -> bytes:
    return struct.pack("<IQ", item_kind, count) + items


def nested(depth: int) -> bytes:
    """Arrays of one item each, `depth` of them inside each other."""
    return array(ARR, 1) * (depth - 1) + array(U8, 1, b"\0")


@dataclass(frozen=True)
class Case:
    name: str
    raw: bytes
    says: str
    """A piece of the error's text."""


# Metadata
GOOD_KEY = entry("a", U32, 1)
METADATA = [
    Case("key-longer-than-file", head(0, 1) + u64(1000) + b"abc" * 5, "claims 1000 bytes"),
    Case("key-of-absurd-length", head(0, 1) + u64(HUGE) + b"\0" * 20, f"claims {HUGE} bytes"),
    Case("key-over-65535-bytes", build([entry("k" * 65536, U32, 1)]), "longer than the 65535"),
    Case("empty-key", build([entry("", U32, 1)]), "a name is empty"),
    Case("key-with-nul", build([entry("a\0b", U32, 1)]), "NUL"),
    Case("key-not-utf8", build([entry(b"k\xff", U32, 1)]), "not UTF-8"),
    Case("key-twice", build([GOOD_KEY, entry("b", U32, 1), GOOD_KEY]), "key 'a'.*occurs twice"),
    Case("value-type-13", build([raw_entry("a", 13, b"\0" * 8)]), "has type 13"),
    Case("value-type-negative", build([raw_entry("a", 0xFFFFFFFF, b"\0" * 8)]), "has type 4294967295"),
    Case("number-cut", build([raw_entry("a", U64, b"\0" * 5)]), "8 bytes should follow"),
    Case("value-missing", head(0, 1) + text("abcdefg") + struct.pack("<I", U32), "4 bytes should follow"),
    Case("string-cut", build([raw_entry("a", STR, u64(10) + b"abc")]), "claims 10 bytes"),
    Case("string-of-absurd-length", build([raw_entry("a", STR, u64(HUGE) + b"abc")]), f"claims {HUGE} bytes"),
    Case("string-length-cut", build([raw_entry("a", STR, b"\1\0\0")]), "8 bytes should follow"),
    Case("string-not-utf8", build([entry("a", STR, b"ok \xc3\x28")]), "key 'a', byte 48: a string is not UTF-8"),
    Case("string-with-surrogate", build([entry("a", STR, b"\xed\xa0\x80")]), "not UTF-8"),
    Case("bool-is-2", build([raw_entry("a", BOOL, b"\2")]), "stored as 2"),
    Case("bool-in-array-is-255", build([raw_entry("a", ARR, array(BOOL, 3, b"\0\1\xff"))]), "stored as 255"),
    Case("array-longer-than-file", build([raw_entry("a", ARR, array(I32, 100, b"\0" * 8))]), "claims 100 items"),
    Case("array-of-absurd-length", build([raw_entry("a", ARR, array(U8, HUGE))]), f"claims {HUGE} items"),
    Case(
        "array-whose-size-wraps-64-bits",
        build([raw_entry("a", ARR, array(U32, 2**62 + 1, ONE))]),
        "items of at least 4",
    ),
    Case("strings-of-absurd-number", build([raw_entry("a", ARR, array(STR, 2**40))]), "claims 1099511627776 items"),
    Case("strings-cut", build([raw_entry("a", ARR, array(STR, 3, text("abc") * 3)[:-1])]), "claims 3 bytes"),
    Case("array-item-type-99", build([raw_entry("a", ARR, array(99, 1, ONE))]), "has type 99"),
    Case("array-header-cut", build([raw_entry("a", ARR, struct.pack("<II", U8, 0))]), "8 bytes should follow"),
    Case("arrays-nested-5-deep", build([raw_entry("a", ARR, nested(5))]), "nested deeper than 4"),
    Case("arrays-nested-5000-deep", build([raw_entry("a", ARR, nested(5000))]), "nested deeper than 4"),
    Case(
        "more-items-than-any-model",
        build([raw_entry("a", ARR, array(U8, 2**22 + 1, bytes(2**22 + 1)))]),
        "no known model",
    ),
    Case("alignment-0", build([entry("general.alignment", U32, 0)]), "not a power of two"),
    Case("alignment-24", build([entry("general.alignment", U32, 24)]), "alignment 24"),
    Case("alignment-u64", build([entry("general.alignment", U64, 32)]), "must be a u32"),
    Case("alignment-text", build([entry("general.alignment", STR, "32")]), "must be a u32"),
    Case(
        "alignment-beyond-file", build([entry("general.alignment", U32, 2**31)], [tensor("t")], ONE), "beyond the file"
    ),
]

PROLOGUE = [
    Case("empty", b"", "is empty"),
    Case("magic-cut", b"GG", "4 bytes should follow"),
    Case("version-cut", b"GGUF\3\0", "4 bytes should follow"),
    Case("counts-cut", head(0, 0)[:20], "8 bytes should follow"),
    Case("49-bytes-with-absurd-counts", head(HUGE, HUGE) + b"\0" * 25, "tensors are announced"),
    Case("absurd-tensor-count", head(2**62, 0) + b"\0" * 25, "4611686018427387904 tensors"),
    Case("absurd-key-count", head(0, 2**31) + b"\0" * 25, "2147483648 keys"),
    Case("more-keys-than-any-model", head(0, 70_000) + bytes(14 * 70_000), "more than the 65536"),
    Case("one-key-too-many", head(0, 2) + GOOD_KEY, "2 keys are announced|should follow"),
    Case("version-0", head(0, 0, version=0), "version 0"),
    Case("version-1", head(0, 0, version=1), "version 1 of GGUF is no longer read"),
    Case("version-4", head(0, 0, version=4), "version 4"),
    Case("big-endian", b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
    Case("old-ggjt", b"tjgg" + b"\0" * 40, "GGJT"),
    Case("zip", b"PK\x03\x04" + b"\0" * 40, "PyTorch"),
    Case("lfs-pointer", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    Case("web-page", b"<!DOCTYPE html><html></html>", "web page"),
    Case("zeros", b"\0" * 64, "never filled"),
    Case("other-magic", b"\x89HDF" + b"\0" * 40, "no GGUF file"),
]


def one(raw_tensor: bytes, data: bytes = ONE) -> bytes:
    return build([], [raw_tensor], data)


TENSORS = [
    Case("tensor-name-cut", head(1, 0) + u64(40) + b"n" * 30, "claims 40 bytes"),
    Case("tensor-name-of-64-bytes", one(tensor("n" * 64)), "longer than the 63"),
    Case("tensor-name-empty", one(tensor("") + b"\0"), "a name is empty"),
    Case("tensor-name-with-nul", one(tensor("t\0x")), "NUL"),
    Case("tensor-name-not-utf8", one(tensor(b"t\xfe")), "not UTF-8"),
    Case("tensor-twice", build([], [tensor("t"), tensor("t", offset=32)], b"\0" * 64), "tensor 't'.*occurs twice"),
    Case("no-dimensions", one(tensor("t", ()) + b"\0" * 8), "0 dimensions"),
    Case("5-dimensions", one(tensor("t", (1, 1, 1, 1, 1))), "5 dimensions"),
    Case("absurd-dimensions", one(text("t") + struct.pack("<I", 2**32 - 1) + b"\0" * 32), "4294967295 dimensions"),
    Case("dimension-0", one(tensor("t", (4, 0))), r"\[4, 0\]"),
    Case("dimension-negative", one(tensor("t", (2**64 - 4,))), r"\[-4\]"),
    Case("shape-overflows", one(tensor("t", (2**32, 2**32))), "more than 2.63"),
    Case("shape-wraps-to-small", one(tensor("t", (2**32, 2**32, 2**32, 4))), "more than 2.63"),
    Case("tensor-type-43", one(tensor("t", kind=43)), "type 43 is unknown"),
    Case("tensor-type-negative", one(tensor("t", kind=2**32 - 1)), "type 4294967295 is unknown"),
    Case("tensor-type-removed", one(tensor("t", (32,), kind=31)), "q4_0_4_4.*removed"),
    Case("row-not-in-blocks", one(tensor("t", (33, 2), kind=8)), "blocks of 32"),
    Case("offset-unaligned", one(tensor("t", offset=4), b"\0" * 64), "not a multiple of the alignment 32"),
    Case("offset-leaves-gap", one(tensor("t", offset=32), b"\0" * 64), "right after the tensor before, at 0"),
    Case("offset-overlaps", build([], [tensor("s", (16,)), tensor("t")], b"\0" * 128), "inside the tensor before"),
    Case("offset-absurd", one(tensor("t", offset=HUGE - 31)), "right after the tensor before"),
    Case("offset-cut", head(1, 0) + tensor("tensor")[:-4], "8 bytes should follow"),
    Case("data-cut", one(tensor("t"), b"\0" * 15), "data ends beyond the file"),
    Case("data-missing", one(tensor("t"), b""), "data ends beyond the file"),
    Case("data-far-beyond-file", one(tensor("t", (2**40, 2**20))), "data ends beyond the file"),
    Case("head-ends-unpadded", head(1, 0) + tensor("t"), "data ends beyond the file"),
    Case("more-tensors-than-any-model", head(70_000, 0) + bytes(33 * 70_000), "more than the 65536"),
    Case("one-tensor-too-few", head(2, 0) + tensor("t"), "2 tensors are announced"),
    Case("model-cut-in-half", glm4().encode()[:-1000], "data ends beyond the file"),
]

CASES = [*PROLOGUE, *METADATA, *TENSORS]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_malformed_file_is_refused_with_one_clear_error(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(case.raw)
    started = time.thread_time()
    with pytest.raises(GgufError, match=case.says) as caught:
        GgufHeader.read(path)
    assert time.thread_time() - started < 5
    assert str(path) == caught.value.path
    assert "byte " in str(caught.value.where)
    assert caught.value.fix
    assert "\n" not in str(caught.value)


def test_the_malformed_kinds_are_many_and_differ() -> None:
    assert len({case.raw for case in CASES}) == len(CASES) >= 60


def test_every_byte_of_a_file_is_needed_to_read_its_head(tmp_path: Path) -> None:
    raw = build([entry("a", STR, "text"), entry("b", ARR, (STR, ["x", "yz"])), entry("c", U16, 7)], [tensor("t")], ONE)
    path = tmp_path / "cut.gguf"
    for length in range(len(raw)):
        path.write_bytes(raw[:length])
        with pytest.raises(GgufError):
            GgufHeader.read(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(GgufError, match="cannot be read: No such file"):
        GgufHeader.read(tmp_path / "absent.gguf")


def test_a_directory_is_no_gguf(tmp_path: Path) -> None:
    with pytest.raises(GgufError, match="this is a directory"):
        GgufHeader.read(tmp_path)


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.gguf"
    os.mkfifo(pipe)
    with pytest.raises(GgufError, match="not a file"):
        GgufHeader.read(pipe)


def test_a_path_with_a_nul_is_refused() -> None:
    with pytest.raises(GgufError, match="no path"):
        GgufHeader.read("a\0b.gguf")


def test_an_unreadable_file_is_named_with_the_reason(tmp_path: Path) -> None:
    loop = tmp_path / "loop.gguf"
    loop.symlink_to(loop)
    with pytest.raises(GgufError, match="cannot be read"):
        GgufHeader.read(loop)


def test_a_sparse_file_of_a_terabyte_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "sparse.gguf"
    with path.open("wb") as stream:
        stream.write(head(0, 1) + raw_entry("a", ARR, array(STR, 2**30)))
        stream.truncate(2**40)
    with pytest.raises(GgufError, match="no known model"):
        GgufHeader.read(path)


def test_a_string_of_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "string.gguf"
    with path.open("wb") as stream:
        stream.write(head(0, 1) + raw_entry("a", STR, u64(2**30)))
        stream.truncate(2**31)
    with pytest.raises(GgufError, match="longer than the 134217728"):
        GgufHeader.read(path)


def test_keys_that_go_on_without_end_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "keys.gguf"
    with path.open("wb") as stream:
        stream.write(head(0, 2) + raw_entry("a", STR, u64(16 * 2**20)))
        stream.seek(16 * 2**20, os.SEEK_CUR)
        stream.write(raw_entry("b", STR, u64(112 * 2**20)))
        stream.truncate(2**31)
    with pytest.raises(GgufError, match="go on past 134217728 bytes"):
        GgufHeader.read(path)
