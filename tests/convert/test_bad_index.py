"""Errors of missing, doubled or contradicting shards name the file and the tensor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from checkpoints import write_checkpoint
from damage import (
    INDEX,
    LFS,
    SHARD,
    SMALL,
    change_json,
    choose,
    copied,
    made,
    read_shard,
    refusal,
    says,
    write_shard,
)

from glm_gguf.convert import convert
from glm_gguf.errors import ShardError, SourceError

NORM = "model.norm.weight"
FIRST, SECOND = "model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors"


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("good") / "model", SMALL, shards=3)


@pytest.fixture
def shards(sharded: Path, tmp_path: Path) -> Path:
    """Three good files of weights with their index, for the test to damage."""
    return copied(sharded, tmp_path / "model")


def test_a_missing_shard_is_named(shards: Path) -> None:
    (shards / SECOND).unlink()
    says(refusal(shards, kind=ShardError), str(shards / SECOND), "missing", INDEX)


def test_a_shard_missing_without_an_index_shows_in_a_tensor(shards: Path) -> None:
    (shards / INDEX).unlink()
    (shards / SECOND).unlink()
    says(refusal(shards, kind=ShardError), "tensor 'model.", "missing")


def test_shards_that_are_complete_need_no_index(shards: Path) -> None:
    convert(shards, shards.parent / "with.gguf", choose())
    (shards / INDEX).unlink()
    convert(shards, shards.parent / "without.gguf", choose())
    assert (shards.parent / "with.gguf").read_bytes() == (shards.parent / "without.gguf").read_bytes()


def test_a_broken_link_in_place_of_a_shard_is_named(shards: Path) -> None:
    (shards / INDEX).unlink()
    (shards / SECOND).unlink()
    (shards / SECOND).symlink_to(shards / "blobs" / "gone")
    says(refusal(shards, kind=ShardError), SECOND, "broken link")


def test_a_directory_in_place_of_a_shard_is_refused(shards: Path) -> None:
    (shards / SECOND).unlink()
    (shards / SECOND).mkdir()
    says(refusal(shards, kind=ShardError), SECOND)


@pytest.mark.parametrize("index", [True, False], ids=["index", "no-index"])
def test_a_tensor_in_two_shards_is_refused_with_both_names(index: bool, shards: Path) -> None:
    header, data = read_shard(shards / FIRST)
    name = next(name for name in header if name != "__metadata__")
    begin, end = header[name]["data_offsets"]
    second, rest = read_shard(shards / SECOND)
    second[name] = {**header[name], "data_offsets": [len(rest), len(rest) + end - begin]}
    write_shard(shards / SECOND, second, rest + data[begin:end])
    if not index:
        (shards / INDEX).unlink()
    says(refusal(shards, kind=ShardError), FIRST, SECOND, repr(name))


def test_a_single_file_beside_its_shards_is_refused_without_an_index(shards: Path) -> None:
    (shards / INDEX).unlink()
    (made(shards.parent / "single") / SHARD).rename(shards / SHARD)
    says(refusal(shards, kind=ShardError), SHARD, "is in model-00001")


def test_a_file_that_the_index_does_not_name_is_passed_over(shards: Path) -> None:
    (shards / "consolidated.safetensors").write_bytes(b"not looked at")
    convert(shards, shards.parent / "out.gguf", choose())


INDEXES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not valid JSON"),
    "array": (b"[]", "not list"),
    "no-map": (b'{"metadata": {}}', "weight_map"),
    "empty-map": (b'{"weight_map": {}}', "weight_map"),
    "map-array": (b'{"weight_map": ["a"]}', "weight_map"),
    "duplicate": (b'{"weight_map": {"a": "x.safetensors", "a": "y.safetensors"}}', "'a' occurs twice"),
    "latin-1": (b'{"weight_map": {"\xe9": "x.safetensors"}}', "not UTF-8"),
    "above": (b'{"weight_map": {"a": "../x.safetensors"}}', "'../x.safetensors'"),
    "absolute": (b'{"weight_map": {"a": "/etc/x.safetensors"}}', "'/etc/x.safetensors'"),
    "below": (b'{"weight_map": {"a": "b/x.safetensors"}}', "'b/x.safetensors'"),
    "dots": (b'{"weight_map": {"a": ".."}}', "'..'"),
    "nothing": (b'{"weight_map": {"a": ""}}', "not the name of a shard"),
    "number": (b'{"weight_map": {"a": 1}}', "1 is not the name"),
    "other-kind": (b'{"weight_map": {"a": "config.json"}}', "'config.json'"),
    "nul": (b'{"weight_map": {"a": "x\\u0000.safetensors"}}', "not the name of a shard"),
    "long": (b'{"weight_map": {"a": "' + b"x" * 300 + b'.safetensors"}}', "too long"),
    "lfs": (LFS, "git lfs pull"),
}


@pytest.mark.parametrize("case", INDEXES)
def test_an_index_that_cannot_be_is_refused(case: str, shards: Path) -> None:
    data, part = INDEXES[case]
    (shards / INDEX).write_bytes(data)
    says(refusal(shards, kind=SourceError), str(shards), part)


def mapped(change: Callable[[dict[str, str]], object]) -> Callable[[dict[str, Any]], object]:
    return lambda index: change(index["weight_map"])


DISAGREE = {
    "names-a-tensor-that-is-not-there": (lambda names: names.update({"model.ghost": SECOND}), ("model.ghost", SECOND)),
    "names-another-shard": (lambda names: names.update({NORM: FIRST if names[NORM] != FIRST else SECOND}), (NORM,)),
    "lacks-a-tensor": (lambda names: names.pop(NORM), (NORM, "not listed")),
    "names-a-missing-shard": (lambda names: names.update({NORM: "model-9.safetensors"}), ("model-9.safetensors",)),
}


@pytest.mark.parametrize("case", DISAGREE)
def test_an_index_that_disagrees_with_the_shards_is_refused(case: str, shards: Path) -> None:
    change, parts = DISAGREE[case]
    change_json(shards / INDEX, mapped(change))
    says(refusal(shards, kind=ShardError), *parts)
