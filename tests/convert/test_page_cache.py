"""A pass over a shard leaves the page cache as it was: pages of others stay, its own are released."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
from pathlib import Path

import pytest

from glm_gguf.convert.page_cache import WINDOW
from glm_gguf.convert.source.local_shards import LocalShards
from glm_gguf.errors import ShardError

NAME, N_BYTES, STEP = "model.safetensors", 4 * WINDOW + 12_345, 2**21

pytestmark = pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="this system takes no advice about files")


def in_memory(path: Path, start: int, stop: int) -> float:
    """The share of a file's pages that mincore(2) finds in memory."""
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        pages = (ctypes.c_ubyte * -(-len(mapped) // mmap.PAGESIZE))()
        first = ctypes.c_char.from_buffer(mapped)
        # int mincore(void addr[.length], size_t length, unsigned char *vec)
        failed = ctypes.CDLL(None).mincore(
            ctypes.c_void_p(ctypes.addressof(first)), ctypes.c_size_t(len(mapped)), pages
        )
        del first
        assert failed == 0
    asked = pages[start // mmap.PAGESIZE : -(-stop // mmap.PAGESIZE)]
    return sum(page & 1 for page in asked) / len(asked)


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    """A file of some windows, on the disk and not in memory."""
    path = tmp_path / NAME
    with path.open("wb") as file:
        for _ in range(0, N_BYTES, STEP):
            file.write(os.urandom(STEP))
        file.truncate(N_BYTES)
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if in_memory(path, 0, N_BYTES) > 0.01:
        pytest.skip("this file system keeps its files in memory")
    return path


def read_through(path: Path) -> bytes:
    read = []
    with LocalShards(path.parent).stream(path.name) as reader:
        for offset in range(0, N_BYTES, STEP):
            read.append(reader.read(offset, min(STEP, N_BYTES - offset)).tobytes())
        reader.finish()
    return b"".join(read)


def test_what_a_pass_brought_into_memory_is_gone_behind_it(shard: Path) -> None:
    read = read_through(shard)
    assert in_memory(shard, 0, N_BYTES) < 0.02
    assert read == shard.read_bytes()


def test_what_was_in_memory_before_stays(shard: Path) -> None:
    shard.read_bytes()
    read_through(shard)
    assert in_memory(shard, 0, N_BYTES) > 0.98


def test_each_window_is_left_as_it_was(shard: Path) -> None:
    with shard.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        file.seek(WINDOW)
        while file.tell() < 3 * WINDOW:
            file.read(STEP)
    read_through(shard)
    shares = [in_memory(shard, start, min(start + WINDOW, N_BYTES)) for start in range(0, N_BYTES, WINDOW)]
    assert [round(share) for share in shares] == [0, 1, 1, 0, 0]


def test_a_window_of_which_a_page_was_in_memory_is_not_one_of_others(shard: Path) -> None:
    with shard.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        for window in range(4):
            os.pread(file.fileno(), 1, window * WINDOW + WINDOW // 2)
    assert 0 < in_memory(shard, 0, N_BYTES) < 0.01
    read_through(shard)
    assert in_memory(shard, 0, N_BYTES) < 0.02


def test_a_pass_that_begins_late_or_ends_early_leaves_nothing_behind(shard: Path) -> None:
    with LocalShards(shard.parent).stream(NAME) as reader:
        reader.read(WINDOW + 5, STEP)
        reader.read(3 * WINDOW - 5, STEP)
    assert in_memory(shard, 0, N_BYTES) < 0.02


class Stopped(Exception):
    """An interruption, as Ctrl-C."""


def test_a_pass_that_is_broken_off_reads_nothing_more(shard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offsets, pread = [], os.pread
    monkeypatch.setattr(os, "pread", lambda *given: (offsets.append(given), pread(*given))[1])
    with contextlib.suppress(Stopped), LocalShards(shard.parent).stream(NAME) as reader:
        reader.read(0, STEP)
        raise Stopped
    assert offsets == []
    with LocalShards(shard.parent).stream(NAME) as reader:
        reader.read(0, STEP)
    assert offsets


def test_a_disk_that_fails_on_bytes_that_nobody_wants_fails_no_pass(
    shard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(number: int, n_bytes: int, offset: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "pread", failing)
    with LocalShards(shard.parent).stream(NAME) as reader:
        assert len(reader.read(0, STEP)) == STEP


def test_a_shard_that_goes_away_before_it_is_identified_is_told(shard: Path) -> None:
    shards = LocalShards(shard.parent)
    assert shards.size(NAME) == N_BYTES
    shard.unlink()
    with pytest.raises(ShardError, match="has changed since it was checked: it is gone"):
        shards.identity(NAME)
