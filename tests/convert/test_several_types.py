"""Several types from one pass: every file equals that of its type alone, and no byte is read twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from checkpoints import write_checkpoint
from damage import SMALL, choose, command_line, refusal, says
from interruptions import Counts, Stops, write_recording

from glm_gguf.convert import Conversion, ConvertOptions, TypeChoices, convert
from glm_gguf.convert.source.local_shards import LocalShards
from glm_gguf.convert.source.shards import Bytes, ShardReader
from glm_gguf.convert.source.source import Source
from glm_gguf.convert.writing.write import Silent
from glm_gguf.errors import RequestError

THREE = ("Q8_0", "Q4_0", "BF16")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("good") / "model", SMALL, shards=2)


def several(*types: str, **choices: object) -> ConvertOptions:
    return ConvertOptions(TypeChoices(types[0], types[1:], **choices), threads=2)  # type: ignore[arg-type]


def alone(source: Path, directory: Path, types: tuple[str, ...]) -> dict[str, bytes]:
    """Name → bytes of the files of single conversions."""
    directory.mkdir()
    paths = [path for type_ in types for path in convert(source, directory, choose(type_))]
    return {path.name: path.read_bytes() for path in paths}


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@dataclass(frozen=True)
class Watched(LocalShards):
    """The directory's shards; records all reads."""

    read: list[tuple[str, int, int]] = field(default_factory=list)

    @contextmanager
    def stream(self, name: str) -> Iterator[ShardReader]:  # type: ignore[override]
        with super().stream(name) as reader:
            yield WatchedReader(name, reader, self.read)


@dataclass(frozen=True)
class WatchedReader:
    name: str
    reader: ShardReader
    seen: list[tuple[str, int, int]]

    def read(self, offset: int, n_bytes: int) -> Bytes:
        self.seen.append((self.name, offset, n_bytes))
        return self.reader.read(offset, n_bytes)

    def finish(self) -> None:
        self.reader.finish()


def test_what_another_type_left_of_an_interrupted_run_is_named(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_recording(source, tmp_path, several("Q8_0", "Q4_0"), Stops(KeyboardInterrupt(), 12))
    caplog.clear()
    convert(source, tmp_path, choose("Q8_0"))
    (told,) = (record.getMessage() for record in caplog.records)
    left = sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".gguf")
    assert len(left) == 2
    assert all("Q4_0" in name and name in told for name in left)
    caplog.clear()
    convert(source, tmp_path, choose("Q4_0"))
    assert caplog.records == []


@pytest.mark.parametrize("name", ["models/", "models/deeper/"])
def test_an_interruption_before_anything_is_complete_leaves_nothing_and_says_so(
    name: str, source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    conversion = Conversion.prepare(Source.local(source), f"{tmp_path}/{name}", choose())
    with pytest.raises(KeyboardInterrupt):
        conversion.write(Stops(KeyboardInterrupt(), 0))
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["nothing was complete yet"]
    assert list(tmp_path.iterdir()) == []


def test_each_file_is_what_its_type_makes_alone_and_no_byte_is_read_twice(source: Path, tmp_path: Path) -> None:
    out, shards = tmp_path / "out", Watched(source)
    out.mkdir()
    Conversion.prepare(replace(Source.local(source), shards=shards), out, several(*THREE)).write(Silent())
    assert contents(out) == alone(source, tmp_path / "alone", THREE)
    (plan,) = Conversion.prepare(Source.local(source), out, choose()).plans
    stored = sum(tensor.n_bytes for tensor in plan.checkpoint.tensors.values())
    assert shards.read == sorted(shards.read)
    assert sum(n_bytes for _, _, n_bytes in shards.read) == stored


def test_several_types_are_gone_on_with_together(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(KeyboardInterrupt):
        write_recording(source, out, several(*THREE), Stops(KeyboardInterrupt(), 40))
    counts = Counts()
    convert(source, out, several(*THREE), counts)
    assert len(counts.found) > 3
    assert len(counts.found) + len(counts.made) == 3 * 23
    assert contents(out) == alone(source, tmp_path / "alone", THREE)


def test_what_is_kept_of_one_type_serves_a_run_that_asks_for_it_alone(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(KeyboardInterrupt):
        write_recording(source, out, several(*THREE), Stops(KeyboardInterrupt(), 40))
    counts = Counts()
    (path,) = convert(source, out, choose("Q4_0"), counts)
    assert counts.found
    assert path.read_bytes() == alone(source, tmp_path / "alone", ("Q4_0",))[path.name]


@pytest.mark.parametrize("split", [None, 30_000])
def test_all_files_are_returned_type_by_type(split: int | None, source: Path, tmp_path: Path) -> None:
    paths = convert(source, tmp_path, ConvertOptions(TypeChoices("Q8_0", ("Q4_0",)), split_max_bytes=split))
    assert {path.name for path in paths} == set(contents(tmp_path))
    halves = ["Q8_0" in path.name for path in paths]
    assert halves == sorted(halves, reverse=True)


def test_one_file_for_several_types_is_refused(source: Path, tmp_path: Path) -> None:
    line = refusal(source, several(*THREE), out=tmp_path / "out.gguf", kind=RequestError)
    says(line, "out", "'out.gguf'", "3 types", "directory")


@pytest.mark.parametrize("types", [("Q8_0", "Q8_0"), ("Q4_K_M", "Q8_0", "Q4_K")], ids=["same", "alias"])
def test_a_type_that_stands_twice_is_refused(types: tuple[str, ...], source: Path, tmp_path: Path) -> None:
    says(refusal(source, several(*types), out=tmp_path, kind=RequestError), "type", types[-1], "twice")


def test_types_of_a_vocabulary_are_refused(source: Path, tmp_path: Path) -> None:
    options = ConvertOptions(TypeChoices("Q8_0", ("Q4_0",)), vocab_only=True)
    says(refusal(source, options, out=tmp_path, kind=RequestError), "vocab_only")


def test_the_command_shows_and_writes_all_types(source: Path, tmp_path: Path) -> None:
    asked = [*("--type", "Q8_0"), *("--type", "Q4_0"), "-o", tmp_path]
    shown = command_line("convert", source, *asked, "--dry-run")
    assert shown.returncode == 0, shown.stderr
    says(shown.stdout, "Q8_0.gguf", "Q4_0.gguf")
    assert contents(tmp_path) == {}
    done = command_line("convert", source, *asked)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == sorted(str(tmp_path / name) for name in contents(tmp_path))
    assert len(contents(tmp_path)) == 2
