"""A randomly corrupted file gives a GgufError, or ggml accepts it too; neither takes long."""

import random
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glm_gguf.errors import GgufError
from glm_gguf.gguf_file.header import GgufHeader
from glm_gguf.gguf_file.values import NestedArray
from tests.gguf_file.builder import EVERY_KIND, build, entry, glm4, tensor
from tests.gguf_file.ggml_library import InitParams, ggml


def check(path: Path, raw: bytes) -> None:
    """Any bytes give a GgufError, or a header that ggml accepts too, in little time."""
    path.write_bytes(raw)
    started = time.thread_time()
    try:
        header = GgufHeader.read(path)
    except GgufError:
        return
    finally:
        assert time.thread_time() - started < 5
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
    [tensor("a", (3,)), tensor("b", (32, 2), 8, 32)],
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
