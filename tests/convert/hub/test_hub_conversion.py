"""A conversion from a hub gives the same bytes as one from a directory, whatever faults happen."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from checkpoints import random_tensors, write_checkpoint, write_shards
from checkpoints_2024 import hf_shape, write_chatglm_form
from damage import SMALL, choose, says
from hub_server import REPOSITORY, HubServer, Reply, Trouble, Waits, files_of
from interruptions import Counts, Stops, write_recording
from troubles import be_silent, cut, flip, ignore_range, misplace, refuse, shorten

from glm_gguf.convert import Conversion, TensorPlan, convert
from glm_gguf.convert.source.checkpoint import INDEX
from glm_gguf.convert.source.config import read_config
from glm_gguf.convert.source.hub.address import parse_address
from glm_gguf.convert.source.hub.hub_client import TransferSettings
from glm_gguf.convert.source.hub.hub_shards import FIRST_READ
from glm_gguf.convert.source.hub.open_hub import open_hub
from glm_gguf.convert.source.source import Source
from glm_gguf.convert.writing.write import Silent
from glm_gguf.errors import ChecksumError, GlmGgufError, TransferError, WeightError
from glm_gguf.gguf_file.header import GgufHeader

MATRIX = "model.layers.1.self_attn.q_proj.weight"
HF, MS = f"hf://{REPOSITORY}", f"ms://{REPOSITORY}"
FIRST, SECOND, THIRD = (f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3))
SETTINGS = TransferSettings(piece_bytes=2**14)
HASTY = TransferSettings(piece_bytes=2**14, silent_seconds=0.5)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The output, in a directory of its own."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "out.gguf"


@pytest.fixture(scope="module")
def expected(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of the conversion from the directory."""
    (path,) = convert(checkpoint, tmp_path_factory.mktemp("expected") / "out.gguf", choose())
    return path.read_bytes()


@contextmanager
def opened(address: str = HF, keep: Path | None = None, settings: TransferSettings = SETTINGS) -> Iterator[Source]:
    parsed = parse_address(address)
    assert parsed is not None
    with open_hub(parsed, keep, settings, Waits()) as source:
        yield source


def convert_quickly(
    out: Path, address: str = HF, keep: Path | None = None, settings: TransferSettings = SETTINGS
) -> None:
    """As `convert`, with small pieces and without waits."""
    with opened(address, keep, settings) as source:
        Conversion.prepare(source, out, choose()).write(Silent())


def test_types_are_chosen_on_a_hub_as_in_a_directory(
    full_hub: HubServer, checkpoint: Path, tmp_path: Path, out: Path
) -> None:
    """Rows are sampled by range requests; the shards are then streamed and checked as ever."""
    convert(HF, out, bpw=9.0, target="cpu")
    (same,) = convert(checkpoint, tmp_path / "same.gguf", bpw=9.0, target="cpu")
    assert out.read_bytes() == same.read_bytes()
    assert out.with_suffix(".recipe").read_bytes() == same.with_suffix(".recipe").read_bytes()


@pytest.mark.parametrize("type_", ["F32", "BF16", "Q8_0", "Q4_0", "IQ4_NL"])
@pytest.mark.parametrize("address", [HF, MS])
def test_the_file_is_the_directorys(
    address: str, type_: str, full_hub: HubServer, checkpoint: Path, tmp_path: Path, out: Path
) -> None:
    convert(address, out, choose(type_))
    (same,) = convert(checkpoint, tmp_path / "same.gguf", choose(type_))
    assert out.read_bytes() == same.read_bytes()
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_the_default_name_is_the_directorys(
    full_hub: HubServer, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (here,) = convert(HF, None, choose())
    (same,) = convert(checkpoint, None, replace(choose(), force=True))
    assert here == same


def test_a_repository_of_one_shard_needs_no_index(hub: HubServer, tmp_path: Path, out: Path) -> None:
    single = write_checkpoint(tmp_path / "GLM-4-9B-0414", SMALL)
    hub.push(REPOSITORY, files_of(single))
    convert(MS, out, choose())
    (same,) = convert(single, tmp_path / "same.gguf", choose())
    assert out.read_bytes() == same.read_bytes()


def test_parts_of_a_fused_tensor_come_out_of_one_pass(hub: HubServer, tmp_path: Path, out: Path) -> None:
    hf_form = write_checkpoint(tmp_path / "hf" / "GLM-4-9B-0414", hf_shape(SMALL))
    own = write_chatglm_form(tmp_path / "own" / "GLM-4-9B-0414", hf_form)
    hub.push(REPOSITORY, files_of(own))
    convert_quickly(out)
    (same,) = convert(hf_form, tmp_path / "same.gguf", choose())
    assert out.read_bytes() == same.read_bytes()


@pytest.mark.parametrize("address", [HF, MS])
def test_a_repository_without_git_lfs_is_read_too(
    address: str, full_hub: HubServer, out: Path, expected: bytes
) -> None:
    full_hub.lfs = ("nothing",)
    convert_quickly(out, address)
    assert out.read_bytes() == expected
    assert not full_hub.requests("lfs")


PASSING: dict[str, Trouble] = {
    "breaks": cut(3000),
    "short": shorten(3000),
    "busy": refuse(429, Retry_After="1"),
    "down": refuse(503),
    "silent": be_silent,
    "whole": ignore_range,
    "misplaced": misplace,
    "expired": refuse(403),
    "wrong bit": flip,
}


@pytest.mark.parametrize("case", PASSING)
@pytest.mark.parametrize("spared", [0, 1, 4])
def test_a_trouble_that_passes_changes_nothing(
    case: str, spared: int, full_hub: HubServer, out: Path, expected: bytes
) -> None:
    full_hub.plan(SECOND, PASSING[case], spared=spared)
    convert_quickly(out, settings=HASTY if PASSING[case] is be_silent else SETTINGS)
    assert out.read_bytes() == expected
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_a_push_in_between_changes_nothing(full_hub: HubServer, out: Path, expected: bytes, checkpoint: Path) -> None:
    newer = {name: data[:-8] + bytes(8) for name, data in files_of(checkpoint).items()}
    with opened() as source:
        full_hub.push(REPOSITORY, newer)
        Conversion.prepare(source, out, choose()).write(Silent())
    assert out.read_bytes() == expected


def test_wrong_bytes_are_fetched_three_times_and_never_get_a_name(full_hub: HubServer, out: Path) -> None:
    full_hub.plan(SECOND, flip, times=10_000, spared=1)  # the header is right
    with pytest.raises(ChecksumError) as caught:
        convert_quickly(out)
    says(str(caught.value), f"{HF}/{SECOND}", "hash")
    assert not out.exists()
    passes = [asked for asked in full_hub.requests("lfs", SECOND) if asked.range == f"bytes=0-{2**14 - 1}"]
    assert len(passes) == 3


def spoil(reply: Reply) -> Reply:
    """A NaN among the weights, from wrong bytes."""
    return replace(reply, body=reply.body[:-2] + b"\xc0\x7f")


def test_a_weight_that_came_wrong_is_no_damage_of_the_checkpoint(
    full_hub: HubServer, out: Path, expected: bytes
) -> None:
    full_hub.plan(SECOND, spoil, spared=1, times=5)
    convert_quickly(out)
    assert out.read_bytes() == expected


def test_a_weight_that_is_wrong_on_the_hub_is_told_as_it_is(hub: HubServer, checkpoint: Path, out: Path) -> None:
    files = files_of(checkpoint)
    hub.push(REPOSITORY, {**files, SECOND: files[SECOND][:-2] + b"\xc0\x7f"})
    with pytest.raises(WeightError) as caught:
        convert_quickly(out)
    says(str(caught.value), "is nan", f"{HF}/{SECOND}")
    assert list(out.parent.iterdir()) == []


def fronts(checkpoint: Path, *names: str) -> dict[str, str]:
    """The range in which a shard's header is fetched."""
    return {name: f"bytes=0-{min(FIRST_READ, (checkpoint / name).stat().st_size) - 1}" for name in names}


def test_what_is_proven_is_not_fetched_again(full_hub: HubServer, checkpoint: Path, out: Path, expected: bytes) -> None:
    full_hub.plan(THIRD, refuse(503), times=10_000, spared=1)
    with opened() as source, pytest.raises(TransferError):
        write_recording(source, out, choose(), Silent())
    assert {path.name for path in out.parent.iterdir()} == {"out.gguf.part", "out.gguf.journal"}
    full_hub.mend()
    fetched = len(full_hub.asked)
    with opened() as source:
        counts = Counts()
        Conversion.prepare(source, out, choose()).write(counts)
    assert out.read_bytes() == expected
    again = {asked.path.rpartition("/")[2]: asked.range for asked in full_hub.asked[fetched:] if asked.side == "lfs"}
    assert {name: again[name] for name in (FIRST, SECOND)} == fronts(checkpoint, FIRST, SECOND)
    assert again[THIRD] != fronts(checkpoint, THIRD)[THIRD]
    assert counts.found
    assert not set(counts.found) & set(counts.made)


def test_nothing_is_believed_of_a_shard_that_was_not_proven(full_hub: HubServer, out: Path, expected: bytes) -> None:
    full_hub.plan(FIRST, flip, spared=1, times=1)
    with opened() as source, pytest.raises(KeyboardInterrupt):
        write_recording(source, out, choose(), Stops(KeyboardInterrupt(), 2))
    assert {path.name for path in out.parent.iterdir()} == {"out.gguf.part", "out.gguf.journal"}
    full_hub.mend()
    convert_quickly(out)
    assert out.read_bytes() == expected


def test_a_commit_of_other_weights_begins_anew(full_hub: HubServer, checkpoint: Path, out: Path) -> None:
    full_hub.plan(THIRD, refuse(503), times=10_000, spared=1)
    with opened() as source, pytest.raises(TransferError):
        write_recording(source, out, choose(), Silent())
    full_hub.mend()
    files = files_of(checkpoint)
    full_hub.push(REPOSITORY, {**files, FIRST: files[FIRST][:-2] + b"\x00\x00"})
    counts = Counts()
    with opened() as source:
        Conversion.prepare(source, out, choose()).write(counts)
    assert counts.found == []


def test_a_source_that_is_kept_is_whole_and_serves_the_next_conversion(
    full_hub: HubServer, checkpoint: Path, out: Path, expected: bytes, tmp_path: Path
) -> None:
    keep = tmp_path / "GLM-4-9B-0414"
    convert(HF, out, replace(choose(), keep_source=keep))
    assert out.read_bytes() == expected
    assert files_of(keep) == files_of(checkpoint)
    asked = len(full_hub.requests("lfs"))
    convert(HF, out, replace(choose(), keep_source=keep, force=True))
    assert len(full_hub.requests("lfs")) == asked
    assert out.read_bytes() == expected
    (same,) = convert(keep, tmp_path / "same.gguf", choose())
    assert same.read_bytes() == expected


def test_a_source_is_whole_also_where_the_conversion_was_resumed(
    full_hub: HubServer, checkpoint: Path, out: Path, tmp_path: Path
) -> None:
    full_hub.plan(THIRD, refuse(503), times=10_000, spared=1)
    with opened() as source, pytest.raises(TransferError):
        write_recording(source, out, choose(), Silent())
    full_hub.mend()
    convert_quickly(out, keep=tmp_path / "kept")
    assert files_of(tmp_path / "kept") == files_of(checkpoint)


def test_a_plan_reads_headers_and_small_files_only(full_hub: HubServer, checkpoint: Path, out: Path) -> None:
    with opened() as source:
        conversion = Conversion.prepare(source, out, choose())
        local = Conversion.prepare(Source.local(checkpoint), out, choose())
    assert [(t.name, t.type, t.n_bytes) for t in conversion.plans[0].tensors] == [
        (t.name, t.type, t.n_bytes) for t in local.plans[0].tensors
    ]
    asked = {asked.path.rpartition("/")[2]: asked.range for asked in full_hub.requests("lfs", ".safetensors")}
    assert asked == fronts(checkpoint, FIRST, SECOND, THIRD)
    assert list(out.parent.iterdir()) == []


class Disk(Silent):
    """Progress that measures the used disk space while weights are written."""

    def __init__(self, *directories: Path) -> None:
        self._directories, self.most = directories, 0

    def wrote(self, n_bytes: int) -> None:
        files = [path for directory in self._directories for path in directory.rglob("*") if path.is_file()]
        self.most = max(self.most, sum(path.stat().st_size for path in files))


def test_the_disk_holds_the_output_and_the_small_files(
    full_hub: HubServer, checkpoint: Path, tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    disk = Disk(out.parent, tmp_path / "tmp")
    convert(HF, out, choose(), disk)
    small = sum(len(data) for name, data in files_of(checkpoint).items() if not name.endswith(".safetensors"))
    assert out.stat().st_size < disk.most <= out.stat().st_size + small + 2**16  # a journal is some kilobytes
    assert list((tmp_path / "tmp").iterdir()) == []


def lying_index(files: dict[str, bytes]) -> None:
    files[INDEX] = files[INDEX].replace(FIRST.encode(), b"../" + FIRST.encode())


def missing_shard(files: dict[str, bytes]) -> None:
    del files[SECOND]


def lying_header(files: dict[str, bytes]) -> None:
    files[SECOND] = (2**40).to_bytes(8, "little") + files[SECOND][8:]


def pointer(files: dict[str, bytes]) -> None:
    files[SECOND] = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 4949453792\n"


def broken_config(files: dict[str, bytes]) -> None:
    files["config.json"] = b"{"


DAMAGE: dict[str, tuple[Callable[[dict[str, bytes]], None], str]] = {
    "index": (lying_index, "is not the name of a shard"),
    "missing": (missing_shard, "this shard is missing"),
    "header": (lying_header, "the header claims"),
    "pointer": (pointer, "git-lfs pointer"),
    "config": (broken_config, "not valid JSON"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_repository_is_told_by_its_address(case: str, hub: HubServer, checkpoint: Path, out: Path) -> None:
    damage, told = DAMAGE[case]
    files = files_of(checkpoint)
    damage(files)
    hub.push(REPOSITORY, files)
    with pytest.raises(GlmGgufError) as caught:
        convert(HF, out, choose())
    says(str(caught.value), told, HF)
    assert tempfile.gettempdir() not in str(caught.value)
    assert list(out.parent.iterdir()) == []


def test_tensors_are_told_of_once_also_where_a_shard_came_twice(full_hub: HubServer, out: Path) -> None:
    full_hub.plan(THIRD, flip, spared=1)
    told: list[str] = []

    class Tells(Silent):
        def resumed(self, tensors: list[TensorPlan]) -> None:  # type: ignore[override]
            told.clear()
            told.extend(tensor.name for tensor in tensors)

        def started(self, tensor: TensorPlan) -> None:
            told.append(tensor.name)

    with opened() as source:
        conversion = Conversion.prepare(source, out, choose())
        conversion.write(Tells())
    assert sorted(told) == sorted(tensor.name for tensor in conversion.plans[0].tensors)


def test_several_types_come_of_one_pass(full_hub: HubServer, checkpoint: Path, tmp_path: Path, out: Path) -> None:
    options = choose("Q8_0", also=("BF16",))
    made = convert(HF, out.parent, options)
    (tmp_path / "same").mkdir()
    same = convert(checkpoint, tmp_path / "same", options)
    assert [path.read_bytes() for path in made] == [path.read_bytes() for path in same]
    passes = [asked.range for asked in full_hub.requests("lfs", THIRD)]
    assert len(passes) == 2  # its header, and the whole


@pytest.mark.parametrize("tied_in_truth", [True, False])
def test_a_head_is_held_against_the_embedding_in_another_shard(
    tied_in_truth: bool, hub: HubServer, tmp_path: Path, out: Path
) -> None:
    source = write_checkpoint(tmp_path / "GLM-4-9B-0414", replace(SMALL, tied=True), shards=3)
    tensors = random_tensors(read_config(Source.local(source)), "BF16", 0)
    dtype, values = tensors["model.embed_tokens.weight"]
    head = values.copy()
    head[-1, -1] ^= 0 if tied_in_truth else 1
    write_shards(source, {**tensors, "lm_head.weight": (dtype, head)}, 3)
    hub.push(REPOSITORY, files_of(source))
    convert_quickly(out)
    (expected,) = convert(source, tmp_path / "expected.gguf", choose())
    assert out.read_bytes() == expected.read_bytes()
    assert ("output.weight" in {info.name for info in GgufHeader.read(out).tensors}) != tied_in_truth


@pytest.fixture
def fp8(tmp_path: Path) -> Path:
    """A checkpoint of three shards, in which a matrix is FP8 and its scale the only thing of 64 float32."""
    directory = write_checkpoint(tmp_path / "fp8" / "GLM-4-9B-0414", SMALL)
    tensors = random_tensors(read_config(Source.local(directory)), "BF16", 0)
    tensors[MATRIX] = ("F8_E4M3", np.full(tensors[MATRIX][1].shape, 0x38, np.uint8))
    tensors[f"{MATRIX}_scale"] = ("F32", np.linspace(0.5, 1.0, 64, dtype=np.float32).reshape(-1, 1))
    (directory / "model.safetensors").unlink()
    write_shards(directory, tensors, 3)
    return directory


@pytest.mark.parametrize("wrong", [False, True], ids=["right", "wrong at first"])
def test_scales_of_fp8_are_fetched_first_and_checked(
    wrong: bool, hub: HubServer, fp8: Path, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hub.push(REPOSITORY, files_of(fp8))
    if wrong:

        def spoil_scales(reply: Reply) -> Reply:
            return replace(reply, body=reply.body[:-2] + b"\0\x3f") if len(reply.body) == 256 else reply

        hub.plan("model-", spoil_scales, times=1, spared=3)
    convert_quickly(out)
    (same,) = convert(fp8, out.parent / "same.gguf", choose())
    assert out.read_bytes() == same.read_bytes()
    assert ("its scales had wrong bytes" in caplog.text) == wrong
