"""Any damage to a good file gives one error of ours or a sound GGUF, and never a read outside a file."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from checkpoints import CARD, write_checkpoint
from damage import INDEX, SHARD, SMALL, choose
from gguf import GGUFReader
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from glm_gguf.convert import convert
from glm_gguf.convert.source.checkpoint import Checkpoint
from glm_gguf.convert.source.source import Source
from glm_gguf.convert.source.tokenizer import BYTE_CHARACTERS
from glm_gguf.errors import GlmGgufError
from glm_gguf.gguf_file.header import GgufHeader

TELLING = (
    *(b"-1", b"0", b"1", b"1.5", b"1e999", b"NaN", b"9223372036854775807", b"18446744073709551616"),
    *(b"null", b"true", b"[]", b"{}", b'""', b'"', b"[", b"]", b"{", b"}", b",", b":", b"\\", b"\\ud800", b"\\u0000"),
    *(b"\x00", b"\xff", b"\xc3", b"\n", b"'", b'"BF16"', b'"F32"', b'"I64"', b"999999999", b"---\n"),
)
"""Inputs that break many readers of JSON and YAML."""

EDITS = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.integers(0, 12),
        st.one_of(st.sampled_from(TELLING), st.binary(max_size=4)),
    ),
    min_size=1,
    max_size=3,
)
"""The place as a fraction of the file, the number of bytes removed, and the bytes inserted."""

moderate = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def edited(data: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    for where, gone, new in edits:
        at = int(where * len(data))
        data = data[:at] + new + data[at + gone :]
    return data


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = write_checkpoint(tmp_path_factory.mktemp("single") / "model", SMALL)
    (source / "README.md").write_text(CARD)
    (source / "generation_config.json").write_text('{"eos_token_id": [1, 2], "temperature": 0.6, "top_k": 40}')
    (source / "imatrix.dat").write_bytes(imatrix())
    return source


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("sharded") / "model", SMALL, shards=2)


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With tokenizer.model in place of tokenizer.json."""
    source = write_checkpoint(tmp_path_factory.mktemp("ranked") / "model", SMALL)
    vocab = json.loads((source / "tokenizer.json").read_text())["model"]["vocab"]
    spelled = ((bytes(BYTE_CHARACTERS.index(c) for c in text), id_) for text, id_ in vocab.items())
    lines = (base64.b64encode(token) + b" %d\n" % id_ for token, id_ in spelled)
    (source / "tokenizer.model").write_bytes(b"".join(lines))
    (source / "tokenizer.json").unlink()
    return source


def imatrix() -> bytes:
    names = ("blk.0.attn_q.weight", "blk.1.ffn_up.weight")
    entries = (struct.pack("<i", len(n)) + n.encode() + struct.pack("<ii", 2, 64) + bytes(256) for n in names)
    return struct.pack("<i", 2) + b"".join(entries) + struct.pack("<ii", 5, 4) + b"wiki"


@contextmanager
def replaced(path: Path, data: bytes) -> Iterator[None]:
    """Replace a file's bytes by `data` within the context."""
    before = path.read_bytes()
    path.write_bytes(data)
    try:
        yield
    finally:
        path.write_bytes(before)


def converts_or_tells(source: Path, **choices: object) -> None:
    """Convert: either one line of an error and no file, or a file that readers accept."""
    out = source.parent / "out.gguf"
    refused: GlmGgufError | None = None
    try:
        convert(source, out, choose(**choices))
    except GlmGgufError as error:
        refused = error
    if refused is not None:
        assert str(refused).isprintable(), str(refused)
        assert refused.field or refused.path or refused.where
        assert [path.name for path in source.parent.iterdir()] == ["model"]
        return
    try:
        tensors = Checkpoint.open(Source.local(source)).tensors.values()
        assert all(tensor.offset + tensor.n_bytes <= Path(tensor.shard.where).stat().st_size for tensor in tensors)
        assert len(GgufHeader.read(out).tensors) == len(GGUFReader(out).tensors)
    finally:
        out.unlink()


@moderate
@given(EDITS)
@example([(0.0, 8, struct.pack("<Q", 2**63))])
def test_a_corrupted_header(single: Path, edits: list[tuple[float, int, bytes]]) -> None:
    """The header's length is corrected, so that the damaged header is read."""
    data = (single / SHARD).read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = edited(data[8 : 8 + length], edits)
    with replaced(single / SHARD, struct.pack("<Q", len(header)) + header + data[8 + length :]):
        converts_or_tells(single)


@moderate
@given(EDITS)
def test_a_corrupted_shard(single: Path, edits: list[tuple[float, int, bytes]]) -> None:
    """Most of a file is weights; these edits change its first 4 KiB."""
    data = (single / SHARD).read_bytes()
    with replaced(single / SHARD, edited(data[:4096], edits) + data[4096:]):
        converts_or_tells(single)


@moderate
@given(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_a_truncated_shard(single: Path, start: float, stop: float) -> None:
    data = (single / SHARD).read_bytes()
    cut = slice(int(start * start * 64), int(stop * len(data)))
    with replaced(single / SHARD, data[cut]):
        converts_or_tells(single)


NUMBERS = st.one_of(st.integers(-2, 2**64), st.integers(0, 400_000), st.sampled_from([2**31, 2**62, 2**63 - 1]))


@moderate
@given(st.data())
def test_offsets_and_shapes_of_any_number(single: Path, data: st.DataObject) -> None:
    contents = (single / SHARD).read_bytes()
    (length,) = struct.unpack_from("<Q", contents)
    header = json.loads(contents[8 : 8 + length])
    name = data.draw(st.sampled_from([name for name in header if name != "__metadata__"]))
    field = data.draw(st.sampled_from(["shape", "data_offsets"]))
    header[name][field] = data.draw(st.lists(NUMBERS, max_size=4))
    text = json.dumps(header).encode()
    with replaced(single / SHARD, struct.pack("<Q", len(text)) + text + contents[8 + length :]):
        converts_or_tells(single)


FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json", "README.md")


@pytest.mark.parametrize("name", FILES)
@moderate
@given(EDITS)
def test_a_corrupted_text(single: Path, name: str, edits: list[tuple[float, int, bytes]]) -> None:
    with replaced(single / name, edited((single / name).read_bytes(), edits)):
        converts_or_tells(single)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"])
@moderate
@given(st.data())
def test_any_value_in_any_field(single: Path, name: str, data: st.DataObject) -> None:
    value = json.loads((single / name).read_bytes())
    place = value
    while True:
        keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if isinstance(place[key], (dict, list)) and place[key] and data.draw(st.booleans()):
            place = place[key]
            continue
        place[key] = data.draw(VALUES)
        break
    with replaced(single / name, json.dumps(value).encode()):
        converts_or_tells(single)


@moderate
@given(EDITS)
def test_a_corrupted_index(sharded: Path, edits: list[tuple[float, int, bytes]]) -> None:
    with replaced(sharded / INDEX, edited((sharded / INDEX).read_bytes(), edits)):
        converts_or_tells(sharded)


@moderate
@given(EDITS)
def test_a_corrupted_tokenizer_model(ranked: Path, edits: list[tuple[float, int, bytes]]) -> None:
    path = ranked / "tokenizer.model"
    with replaced(path, edited(path.read_bytes(), edits)):
        converts_or_tells(ranked)


@moderate
@given(EDITS)
def test_a_corrupted_imatrix(single: Path, edits: list[tuple[float, int, bytes]]) -> None:
    path = single / "imatrix.dat"
    with replaced(path, edited(path.read_bytes(), edits)):
        converts_or_tells(single, imatrix=path)


@moderate
@given(st.lists(st.floats(width=32), min_size=64, max_size=64))
def test_an_imatrix_of_any_numbers(single: Path, values: list[float]) -> None:
    name = b"blk.0.attn_q.weight"
    columns = np.array(values, np.float32).tobytes()
    data = struct.pack("<ii", 1, len(name)) + name + struct.pack("<ii", 1, 64) + columns
    with replaced(single / "imatrix.dat", data):
        converts_or_tells(single, imatrix=single / "imatrix.dat")
