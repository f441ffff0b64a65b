"""Shards in one pass: any reads give the file's bytes, a wrong byte is found, memory stays bounded."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hub_server import REPOSITORY, HubServer, Waits, files_of
from troubles import be_silent, cut, flip, refuse
from waiting import until

from glm_gguf.convert.source.hub.address import Address, Hub
from glm_gguf.convert.source.hub.hub_client import TransferSettings
from glm_gguf.convert.source.hub.open_hub import open_hub
from glm_gguf.convert.source.hub.shard_stream import ShardStream
from glm_gguf.convert.source.source import Source
from glm_gguf.errors import OutputError, ShardError, TransferError
from glm_gguf.whole_file import UNFINISHED

NAME = "model-00001-of-00003.safetensors"
PIECE = 2**13
SETTINGS = TransferSettings(connections=4, piece_bytes=PIECE)


class Left(Exception):
    """A conversion was interrupted."""


@contextmanager
def opened(keep: Path | None = None) -> Iterator[Source]:
    with open_hub(Address(Hub.HUGGING_FACE, *REPOSITORY.split("/")), keep, SETTINGS, Waits()) as source:
        yield source


@pytest.mark.parametrize("seed", range(8))
def test_any_rising_reads_give_the_bytes_of_the_file(seed: int, full_hub: HubServer, checkpoint: Path) -> None:
    data = (checkpoint / NAME).read_bytes()
    choice = random.Random(seed)
    full_hub.plan(NAME, cut(choice.randrange(PIECE)), times=2)
    cuts = sorted(choice.sample(range(len(data) + 1), 2 * choice.randrange(1, 9)))
    with opened() as source, source.shards.stream(NAME) as reader:
        parts = [
            (start, stop, reader.read(start, stop - start)) for start, stop in zip(cuts[::2], cuts[1::2], strict=True)
        ]
        reader.finish()
        assert all(part.tobytes() == data[start:stop] for start, stop, part in parts)


def test_a_peek_gives_the_front_and_no_more_than_there_is(full_hub: HubServer, checkpoint: Path) -> None:
    data = (checkpoint / NAME).read_bytes()
    with opened() as source:
        assert source.shards.peek(NAME, 0, 23) == data[:23]
        assert source.shards.peek(NAME, 8, 500) == data[8:508]
        assert source.shards.peek(NAME, len(data) - 4, 100) == data[-4:]
        assert len(full_hub.requests("lfs", NAME)) == 2


def test_a_header_without_end_is_not_fetched(hub: HubServer, checkpoint: Path) -> None:
    hub.push(REPOSITORY, {**files_of(checkpoint), NAME: bytes(2**24 + 100)})
    with opened() as source, pytest.raises(ShardError, match="claims 16777217 bytes"):
        source.shards.peek(NAME, 8, 2**24 + 1)
    assert not hub.requests("lfs", NAME)


def test_one_wrong_bit_anywhere_is_found_out_at_the_end(full_hub: HubServer) -> None:
    with opened() as source:
        size = source.shards.size(NAME)
        assert size is not None
        for piece in range(-(-size // PIECE)):
            full_hub.plan(NAME, flip, spared=piece)
            with source.shards.stream(NAME) as reader:
                reader.read(100, 50)
                with pytest.raises(TransferError, match="hash"):
                    reader.finish()
        with source.shards.stream(NAME) as reader:
            reader.finish()


def test_a_header_that_was_planned_with_must_be_the_one_that_is_hashed(full_hub: HubServer) -> None:
    with opened() as source:
        full_hub.plan(NAME, flip)
        source.shards.peek(NAME, 0, 2**16)
        with (
            source.shards.stream(NAME) as reader,
            pytest.raises(TransferError, match="its header had wrong bytes"),
        ):
            reader.finish()


def test_a_transfer_that_breaks_for_good_is_told_by_the_reader(full_hub: HubServer) -> None:
    with opened() as source, source.shards.stream(NAME) as reader:
        full_hub.plan(NAME, refuse(503), times=1000)
        with pytest.raises(TransferError, match="503"):
            reader.finish()


def test_no_more_is_fetched_than_there_are_connections(hub: HubServer, checkpoint: Path) -> None:
    hub.push(REPOSITORY, {**files_of(checkpoint), NAME: bytes(PIECE * 100)})
    with opened() as source, source.shards.stream(NAME) as reader:
        for piece in range(0, 100, 9):
            reader.read(piece * PIECE, 1)
            assert len(hub.requests("lfs", NAME)) <= piece + SETTINGS.connections
        reader.finish()
    assert len(hub.requests("lfs", NAME)) == 100


def test_leaving_half_way_waits_for_nothing(hub: HubServer, checkpoint: Path) -> None:
    hub.push(REPOSITORY, {**files_of(checkpoint), NAME: bytes(PIECE * 100)})
    begun = time.monotonic()
    with opened() as source, source.shards.stream(NAME) as reader:
        reader.read(0, 1)
        until(lambda: len(hub.requests("lfs", NAME)) == SETTINGS.connections)
        hub.plan(NAME, be_silent, times=1000)
        reader.read(PIECE, 1)  # asks for one piece more, which does not come
    assert time.monotonic() - begun < SETTINGS.silent_seconds


def test_bytes_of_one_read_stay_when_the_next_comes(full_hub: HubServer, checkpoint: Path) -> None:
    data = (checkpoint / NAME).read_bytes()
    with opened() as source, source.shards.stream(NAME) as reader:
        parts = read_all(reader, len(data), 700)
        assert b"".join(part.tobytes() for part in parts) == data


def read_all(reader: ShardStream, n_bytes: int, step: int) -> list[object]:
    return [reader.read(start, min(step, n_bytes - start)) for start in range(0, n_bytes, step)]


def test_what_is_streamed_is_kept_and_what_is_kept_is_not_fetched_again(
    full_hub: HubServer, checkpoint: Path, tmp_path: Path
) -> None:
    keep = tmp_path / "kept"
    with opened(keep) as source:
        assert not keep.exists()
        with source.shards.reading(tmp_path, 0):
            with source.shards.stream(NAME) as reader:
                assert not (keep / NAME).exists()
                reader.finish()
            assert (keep / NAME).read_bytes() == (checkpoint / NAME).read_bytes()
    assert files_of(keep) == files_of(checkpoint)
    before = len(full_hub.requests("lfs"))
    with opened(keep) as source, source.shards.reading(tmp_path, 0), source.shards.stream(NAME) as reader:
        assert source.shards.peek(NAME, 0, 8) == (checkpoint / NAME).read_bytes()[:8]
        reader.finish()
    assert len(full_hub.requests("lfs")) == before
    assert not full_hub.requests("hub", "/resolve/")[before:]


def test_a_pass_that_was_left_or_went_wrong_keeps_nothing(full_hub: HubServer, tmp_path: Path) -> None:
    keep = tmp_path / "kept"
    with opened(keep) as source, suppress(Left), source.shards.reading(tmp_path, 0):
        with source.shards.stream(NAME) as reader:
            reader.read(0, 100)
        full_hub.plan(NAME, flip, times=1000)
        with source.shards.stream(NAME) as reader, pytest.raises(TransferError):
            reader.finish()
        raise Left
    assert NAME not in files_of(keep)
    assert not [path for path in keep.iterdir() if path.suffix == UNFINISHED]


def test_another_file_in_the_way_is_neither_used_nor_replaced(
    full_hub: HubServer, checkpoint: Path, tmp_path: Path
) -> None:
    for name in (NAME, "config.json", "tokenizer.json"):
        for other in (b"mine", bytes(len((checkpoint / name).read_bytes()))):
            keep = tmp_path / f"{name}-{len(other)}"
            keep.mkdir()
            (keep / name).write_bytes(other)
            with (
                pytest.raises(OutputError, match="differs from"),
                opened(keep) as source,
                source.shards.reading(tmp_path, 0),
                source.shards.stream(NAME) as reader,
            ):
                reader.finish()
            assert (keep / name).read_bytes() == other


def test_a_disk_that_is_too_small_for_the_source_is_told_before_a_shard_is_fetched(
    full_hub: HubServer, tmp_path: Path
) -> None:
    with (
        opened(tmp_path / "kept") as source,
        pytest.raises(OutputError, match="GB are needed"),
        source.shards.reading(tmp_path, 2**60),
    ):
        pass
    assert not full_hub.requests("lfs", NAME)


def test_a_directory_is_kept_to_by_one_conversion_at_a_time(full_hub: HubServer, tmp_path: Path) -> None:
    with (
        opened(tmp_path / "kept") as first,
        first.shards.reading(tmp_path, 0),
        opened(tmp_path / "kept") as second,
        pytest.raises(OutputError, match="another conversion"),
        second.shards.reading(tmp_path, 0),
    ):
        pass
