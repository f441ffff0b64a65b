"""Full disks, read-only file systems and closed directories give an error, and no file is left on them."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from checkpoints import Shape, write_checkpoint
from damage import SHARD, SMALL, choose, copied, root, says

from glm_gguf.convert import Conversion, ConvertOptions, TensorPlan, TypeChoices, convert
from glm_gguf.convert.source.local_shards import LocalShards
from glm_gguf.convert.source.source import Source
from glm_gguf.convert.writing.journal import Binding, Entries
from glm_gguf.convert.writing.layout import FileLayout
from glm_gguf.convert.writing.partial_file import PartialFile
from glm_gguf.convert.writing.write import Silent, write
from glm_gguf.errors import GlmGgufError, OutputError

FORCE = ConvertOptions(types=TypeChoices(type="Q8_0"), force=True, threads=2)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("good") / "model", SMALL)


@pytest.fixture
def source(good: Path, tmp_path: Path) -> Path:
    """A good checkpoint."""
    return copied(good, tmp_path / "model")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 40 MiB; a conversion needs 32 MiB beside its data."""
    if not root():
        pytest.skip("mounting a small file system needs root")
    directory = tmp_path / "disk"
    directory.mkdir()
    if mount("-t", "tmpfs", "-o", "size=40m", "tmpfs", directory).returncode:
        pytest.skip("this root may not mount")
    yield directory
    assert subprocess.run(["umount", directory], check=False).returncode == 0


def mount(*arguments: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["mount", *map(str, arguments)], capture_output=True, check=False)


def fill(directory: Path) -> None:
    """Fill the disk to the last byte."""
    with (directory / "filler").open("wb", buffering=0) as file:
        for size in (2**20, 4096):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                continue


def test_a_full_disk_is_told_before_anything_is_written(disk: Path, source: Path) -> None:
    (disk / "old.gguf").write_bytes(b"kept")
    fill(disk)
    for options, out in ((choose(), disk / "out.gguf"), (FORCE, disk / "old.gguf")):
        with pytest.raises(OutputError) as caught:
            convert(source, out, options)
        says(str(caught.value), str(disk), "GB are needed", "0.00 GB are free")
    assert (disk / "old.gguf").read_bytes() == b"kept"
    assert {path.name for path in disk.iterdir()} == {"old.gguf", "filler"}


class Fills(Silent):
    """Progress that fills the disk when a tensor begins."""

    def __init__(self, directory: Path, after: int) -> None:
        self._directory, self._left = directory, after

    def started(self, tensor: TensorPlan) -> None:
        self._left -= 1
        if self._left == 0:
            fill(self._directory)


@pytest.mark.parametrize("after", [1, 4, 20])
@pytest.mark.parametrize("split", [None, 200_000], ids=["single", "split"])
@pytest.mark.parametrize("seconds", [0.0, 60.0], ids=["journal", "no-journal"])
def test_a_disk_that_fills_up_half_way_is_no_matter_since_the_space_is_set_aside(
    seconds: float, split: int | None, after: int, disk: Path, tmp_path: Path
) -> None:
    source = write_checkpoint(tmp_path / "large", Shape())
    options = ConvertOptions(types=TypeChoices(type="BF16"), split_max_bytes=split, threads=1)
    expected = convert(source, tmp_path / "out.gguf", options)
    conversion = Conversion.prepare(Source.local(source), disk / "out.gguf", options)
    write(conversion.layouts(), LocalShards(source), 1, Fills(disk, after), seconds)
    for path, same in zip(conversion.paths, expected, strict=True):
        assert path.read_bytes() == same.read_bytes()
    assert {path.name for path in disk.iterdir()} == {"filler", *(path.name for path in conversion.paths)}


def test_a_disk_that_is_full_once_the_conversion_begins_is_told_and_nothing_is_left(disk: Path, source: Path) -> None:
    (disk / "old.gguf").write_bytes(b"kept")
    conversion = Conversion.prepare(Source.local(source), disk / "old.gguf", FORCE)
    fill(disk)
    with pytest.raises(OutputError) as caught:
        write(conversion.layouts(), LocalShards(source), 1, Silent())
    says(str(caught.value), str(disk), "no space is left")
    assert (disk / "old.gguf").read_bytes() == b"kept"
    assert {path.name for path in disk.iterdir()} == {"old.gguf", "filler"}


def test_a_file_that_is_larger_than_allowed_is_told_and_nothing_is_left(source: Path, tmp_path: Path) -> None:
    """A limit of file size, as FAT32's 4 GiB."""
    (tmp_path / "out").mkdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OutputError) as caught:
            convert(source, tmp_path / "out" / "out.gguf", choose())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    says(str(caught.value), "out.gguf", "no file of this size", "split_max_bytes")
    assert list((tmp_path / "out").iterdir()) == []


def test_what_was_taken_back_is_not_recorded_by_a_later_try(disk: Path) -> None:
    """A record that a full disk refuses is written with the next one; a revoked record is not."""
    part = PartialFile(disk / "out.gguf", FileLayout(b"", (), (), 0), Binding("program", "checkpoint", "request"))
    fill(disk)
    part.record({"right": 1, "wrong": 2})
    part.forget(["wrong"])
    (disk / "filler").unlink()
    part.record({"later": 3})
    assert part.keep()
    part.discard()
    entries = Entries.read(disk / "out.gguf.journal")
    assert entries is not None
    assert entries.checksums == {"right": 1, "later": 3}


def test_a_read_only_file_system_is_told(disk: Path, source: Path) -> None:
    (disk / "old.gguf").write_bytes(b"kept")
    assert mount("-o", "remount,ro", disk).returncode == 0
    for options, out in ((choose(), disk / "out.gguf"), (FORCE, disk / "old.gguf")):
        with pytest.raises(OutputError) as caught:
            convert(source, out, options)
        says(str(caught.value), str(out), "Read-only")
    assert [path.name for path in disk.iterdir()] == ["old.gguf"]


def test_a_checkpoint_on_a_read_only_file_system_converts(disk: Path, good: Path, tmp_path: Path) -> None:
    copied(good, disk / "model")
    assert mount("-o", "remount,ro", disk).returncode == 0
    convert(disk / "model", tmp_path / "out.gguf", choose())


NOBODY = 65534
CLOSED = {
    "directory": ("out", 0o555, "Permission denied"),
    "directory-unreadable": ("out", 0o000, "Permission denied"),
    "source": ("model", 0o000, "Permission denied"),
    "config": ("model/config.json", 0o000, "config.json: cannot be read: Permission denied"),
    "shard": (f"model/{SHARD}", 0o000, f"{SHARD}: cannot be read: Permission denied"),
    "tokenizer": ("model/tokenizer.json", 0o000, "tokenizer.json: cannot be read: Permission denied"),
    "card": ("model/README.md", 0o000, "README.md: "),
    "imatrix": ("imatrix.dat", 0o000, "imatrix.dat: cannot be read: Permission denied"),
}


@contextmanager
def unprivileged() -> Iterator[None]:
    """Run as the user nobody within the context: root ignores permissions."""
    was_root = root()
    if was_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if was_root:
            os.seteuid(0)


@pytest.mark.parametrize("case", CLOSED)
def test_what_a_user_may_not_do_is_told(case: str, good: Path) -> None:
    name, mode, part = CLOSED[case]
    with TemporaryDirectory() as made:  # the user nobody cannot open pytest's own directories
        directory = Path(made)
        source = copied(good, directory / "model")
        (source / "README.md").write_text("# GLM\n")
        (directory / "imatrix.dat").write_bytes(b"")
        (directory / "out").mkdir()
        directory.chmod(0o755)
        (directory / "out").chmod(0o777)
        convert(source, directory / "first.gguf", choose())  # imports files that the user nobody cannot read
        (directory / name).chmod(mode)
        options = choose(imatrix=directory / "imatrix.dat" if case == "imatrix" else None)
        with unprivileged(), pytest.raises(GlmGgufError) as caught:
            convert(source, directory / "out" / "a.gguf", options)
        (directory / name).chmod(0o777)
        says(str(caught.value), str(directory), part)
        assert list((directory / "out").iterdir()) == []
