"""Linux and macOS have twins: the same calls on an open file, each by what its system has."""

from __future__ import annotations

import errno
import inspect
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pytest

from glm_gguf import linux_files
from glm_gguf.convert.page_cache import PROBES, WINDOW, ReadAhead
from glm_gguf.file_calls import FileCalls
from glm_gguf.whole_file import write_whole

fcntl = pytest.importorskip("fcntl", reason="Windows has none of these calls")
darwin_files = pytest.importorskip("glm_gguf.darwin_files")

CALLS = [name for name in vars(FileCalls) if not name.startswith("_")]
PAGES = [4096, 16384, 65536]
"""Bytes: of x86-64, of Apple's processors and Asahi Linux, of some ARM servers."""


@dataclass
class Darwin:
    """XNU's side of fcntl: what was asked of it, and what its file system lacks."""

    lacking: tuple[int, ...] = ()
    error: int = errno.ENOTSUP
    asked: list[tuple[int, int | bytes]] = field(default_factory=list)

    def fcntl(self, descriptor: int, request: int, argument: int | bytes = 0) -> int | bytes:
        size = os.fstat(descriptor).st_size  # it is open
        if request in self.lacking:
            raise OSError(self.error, os.strerror(self.error))
        if request == 44 and struct.unpack("<qi", argument[:12])[0] >= size:  # type: ignore[index]
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))  # hfs_vnop_ioctl of XNU
        self.asked.append((request, argument))
        return argument


@contextmanager
def darwin(monkeypatch: pytest.MonkeyPatch, kernel: Darwin) -> Iterator[list[int]]:
    """The process on a Mac; yields the descriptors that were flushed by fsync."""
    flushed: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "fcntl", kernel.fcntl)
        patch.setattr(os, "fsync", flushed.append)
        yield flushed


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    number = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield number
    os.close(number)


@pytest.mark.parametrize("name", CALLS)
def test_both_systems_have_the_same_calls(name: str) -> None:
    twins = getattr(linux_files, name), getattr(darwin_files, name)
    if name.isupper():
        assert [type(value) for value in twins] == [bool, bool]
    else:
        assert inspect.signature(twins[0]) == inspect.signature(twins[1])
        assert [*inspect.signature(getattr(FileCalls, name)).parameters][1:] == [
            *inspect.signature(twins[0]).parameters
        ]


def test_macos_flushes_the_drives_cache_too(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Darwin()
    with darwin(monkeypatch, kernel) as flushed:
        darwin_files.flush(descriptor)
        darwin_files.flush_for_certain(descriptor)
    assert kernel.asked == [(85, 0), (51, 0)]  # F_BARRIERFSYNC, F_FULLFSYNC
    assert flushed == []


def test_a_file_system_of_macos_that_lacks_a_call_gets_the_older_one(
    descriptor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error in (errno.ENOTSUP, errno.EINVAL, errno.ENOTTY):
        kernel = Darwin(lacking=(85, 51, 42, 44, 48), error=error)
        with darwin(monkeypatch, kernel) as flushed:
            darwin_files.flush(descriptor)
            darwin_files.flush_for_certain(descriptor)
            darwin_files.allocate(descriptor, 12345)
            darwin_files.begin_pass(descriptor)
            assert darwin_files.read_ahead(descriptor, 0, 100) is False
        assert (flushed, kernel.asked) == ([descriptor, descriptor], [])
        assert os.fstat(descriptor).st_size == 12345


@pytest.mark.parametrize(
    ("call", "request_", "arguments", "error"),
    [
        ("flush", 85, (), errno.EIO),
        ("flush_for_certain", 51, (), errno.EIO),
        ("allocate", 42, (1,), errno.ENOSPC),
        ("read_ahead", 44, (0, 1), errno.EIO),
    ],
)
def test_a_disk_of_macos_that_fails_is_told(
    call: str, request_: int, arguments: tuple[int, ...], error: int, descriptor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        darwin(monkeypatch, Darwin(lacking=(request_,), error=error)),
        pytest.raises(OSError, match=os.strerror(error)),
    ):
        getattr(darwin_files, call)(descriptor, *arguments)


def test_macos_allocates_behind_the_end_and_reads_ahead_in_apples_structures(
    descriptor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Darwin()
    with darwin(monkeypatch, kernel):
        darwin_files.allocate(descriptor, 2**33)
        assert darwin_files.read_ahead(descriptor, 2**33 - 2**24, 2**24) is True
        darwin_files.begin_pass(descriptor)
    # fstore_t: flags F_ALLOCATEALL, mode F_PEOFPOSMODE, offset, length, bytes allocated; struct radvisory, padded
    allocation = struct.pack("<Iiqqq", 4, 3, 0, 2**33, 0)
    assert kernel.asked == [(42, allocation), (44, struct.pack("<qii", 2**33 - 2**24, 2**24, 0)), (48, 1)]
    assert os.fstat(descriptor).st_size == 2**33


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="Linux's call")
def test_linux_allocates_the_space(descriptor: int) -> None:
    linux_files.allocate(descriptor, 2**20)
    assert os.fstat(descriptor).st_blocks * 512 >= 2**20


def test_a_file_that_appears_whole_is_on_the_disk_for_certain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Darwin()
    with darwin(monkeypatch, kernel) as flushed:
        monkeypatch.setattr("glm_gguf.whole_file.FILE_CALLS", darwin_files)
        monkeypatch.setattr("glm_gguf.file_lock.fcntl", None)
        write_whole(tmp_path / "session", [b"content"])
    assert ([request for request, _ in kernel.asked], flushed) == ([51], [])
    assert (tmp_path / "session").read_bytes() == b"content"


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("calls", [linux_files, darwin_files], ids=["linux", "darwin"])
def test_what_is_read_ahead_and_released_is_whole_pages_of_every_size(
    calls: ModuleType, page: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A range that ends inside a page releases less than it read (posix_fadvise(2)), and would leave it in memory."""
    ranges: list[tuple[int, int]] = []
    path = tmp_path / "shard"
    with path.open("wb") as file:
        file.truncate(5 * WINDOW + 12_345)
    kernel = Darwin()
    if hasattr(os, "posix_fadvise"):
        monkeypatch.setattr(os, "posix_fadvise", lambda _, offset, n_bytes, advice: ranges.append((offset, n_bytes)))
        monkeypatch.delattr(os, "RWF_NOWAIT", raising=False)  # nothing is in memory
    with path.open("rb", buffering=0) as file, darwin(monkeypatch, kernel):
        ahead = ReadAhead(file.fileno(), calls)
        for offset in range(0, 5 * WINDOW, 3 * page + 7):
            ahead.reached(offset)
        ahead.stop()
    ranges += [struct.unpack("<qi", argument[:12]) for _, argument in kernel.asked if isinstance(argument, bytes)]
    read = {offset // WINDOW for offset, n_bytes in ranges if n_bytes}
    if calls is darwin_files or hasattr(os, "posix_fadvise"):
        assert read == set(range(6))  # the last one has 12,345 bytes; macOS reads nothing ahead behind the end
    assert all(offset % page == n_bytes % page == 0 for offset, n_bytes in ranges)
    assert page <= WINDOW // PROBES
