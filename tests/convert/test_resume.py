"""An interrupted conversion continues from its complete tensors, or starts again and says why; the file is the same."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from checkpoints import write_checkpoint
from damage import SMALL, choose, copied, set_weights
from interruptions import Counts, Stops, write_recording

from glm_gguf.convert import Conversion, ConvertOptions, convert
from glm_gguf.convert.source.checkpoint import Checkpoint
from glm_gguf.convert.source.local_shards import LocalShards
from glm_gguf.convert.source.shards import Bytes, ShardReader
from glm_gguf.convert.source.source import Source
from glm_gguf.convert.source.tensor_names import SourceTensor, source_tensors
from glm_gguf.convert.writing.journal import Binding, Entries, Journal
from glm_gguf.errors import ChecksumError, OutputError, TransferError, WeightError

SECOND = "model-00002-of-00003.safetensors"
NAMES = {"out.gguf.part", "out.gguf.journal"}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("good") / "model", SMALL, shards=3)


@pytest.fixture
def source(good: Path, tmp_path: Path) -> Path:
    return copied(good, tmp_path / "model")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The output, in a directory of its own."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "out.gguf"


def interrupt(source: Path, out: Path, after: int = 12, options: ConvertOptions | None = None) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_recording(source, out, options or choose(), Stops(KeyboardInterrupt(), after))
    assert {path.name for path in out.parent.iterdir()} == NAMES


def resume(source: Path, out: Path, options: ConvertOptions | None = None) -> Counts:
    """Convert to the end; the file must equal that of an undisturbed run."""
    counts = Counts()
    convert(source, out, options or choose(), counts)
    (same,) = convert(source, out.parent.parent / "undisturbed.gguf", options or choose())
    assert out.read_bytes() == same.read_bytes()
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    return counts


@pytest.mark.parametrize("after", [2, 12, 22])
@pytest.mark.parametrize("threads", [1, 3])
def test_what_is_complete_is_not_made_again(after: int, threads: int, source: Path, out: Path) -> None:
    interrupt(source, out, after)
    counts = resume(source, out, replace(choose(), threads=threads))
    assert counts.found
    assert not set(counts.found) & set(counts.made)
    assert len(counts.found) + len(counts.made) == 23


def test_a_conversion_may_be_interrupted_again_and_again(source: Path, out: Path) -> None:
    for _ in range(4):
        interrupt(source, out, 5)
    assert len(resume(source, out).found) >= 4


def test_every_file_of_a_split_goes_on_from_its_own_journal(source: Path, out: Path) -> None:
    options = ConvertOptions(choose().types, split_max_bytes=30_000, threads=1)
    with pytest.raises(KeyboardInterrupt):
        write_recording(source, out, options, Stops(KeyboardInterrupt(), 12))
    counts = Counts()
    paths = convert(source, out, options, counts)
    assert counts.found
    whole = convert(source, out.parent.parent / "undisturbed.gguf", options)
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in whole]
    assert {path.name for path in out.parent.iterdir()} == {path.name for path in paths}


def stored_in(source: Path, shard: str) -> list[SourceTensor]:
    """The tensors of one shard."""
    tensors = source_tensors(Checkpoint.open(Source.local(source)))
    return [tensor for tensor in tensors if tensor.stored.shard.name == shard]


def spoil(source: Path, value: float) -> None:
    """Change the first weight of a matrix in the second shard."""
    name = next(tensor.stored.name for tensor in stored_in(source, SECOND) if len(tensor.shape) > 1)
    set_weights(source / SECOND, name, {(0, 0): value})


def changed_weight(source: Path, out: Path) -> None:
    spoil(source, 0.5)


def changed_time(source: Path, out: Path) -> None:
    os.utime(source / SECOND)


def part_shorter(source: Path, out: Path) -> None:
    part = out.with_name("out.gguf.part")
    os.truncate(part, part.stat().st_size - 1)


def part_empty(source: Path, out: Path) -> None:
    out.with_name("out.gguf.part").write_bytes(b"")


def part_gone(source: Path, out: Path) -> None:
    out.with_name("out.gguf.part").unlink()


def part_link(source: Path, out: Path) -> None:
    part_gone(source, out)
    (out.parent.parent / "precious").write_bytes(b"kept")
    out.with_name("out.gguf.part").symlink_to(out.parent.parent / "precious")


def foreign(source: Path, out: Path) -> None:
    out.with_name("out.gguf.journal").write_text("a diary\n")


def other_version(source: Path, out: Path) -> None:
    journal = out.with_name("out.gguf.journal")
    text = journal.read_bytes().splitlines()[0][9:].replace(b'"glm-gguf ', b'"glm-gguf 0.0.1-')
    journal.write_bytes(b"%08x %s\n" % (zlib.crc32(text), text))


STALE: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "weight": (changed_weight, "the checkpoint has changed"),
    "time": (changed_time, "the checkpoint has changed"),
    "part-shorter": (part_shorter, "its partial file has changed"),
    "part-empty": (part_empty, "its partial file has changed"),
    "part-gone": (part_gone, "its partial file is gone"),
    "part-link": (part_link, "its partial file is gone"),
    "foreign": (foreign, "another version wrote it"),
    "version": (other_version, "another version wrote it"),
}


@pytest.mark.parametrize("case", STALE)
def test_what_does_not_fit_is_begun_anew_with_one_line_saying_why(
    case: str, source: Path, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    change, reason = STALE[case]
    interrupt(source, out)
    change(source, out)
    caplog.clear()
    assert resume(source, out).found == []
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == [reason]
    assert case != "part-link" or (out.parent.parent / "precious").read_bytes() == b"kept"


OPTIONS = {
    "type": choose("Q4_0"),
    "tensor": choose(output_tensor="F16"),
    "name": replace(choose(), name="Another"),
    "yarn": replace(choose(), yarn=4.0),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_other_options_begin_anew(case: str, source: Path, out: Path, caplog: pytest.LogCaptureFixture) -> None:
    interrupt(source, out)
    caplog.clear()
    assert resume(source, out, OPTIONS[case]).found == []
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == ["other options were given"]


def test_another_importance_matrix_begins_anew(source: Path, out: Path, caplog: pytest.LogCaptureFixture) -> None:
    matrix = source.parent / "imatrix.dat"
    options = choose("Q4_0", imatrix=matrix)
    matrix.write_bytes(importance_of_output(1.0))
    interrupt(source, out, options=options)
    matrix.write_bytes(importance_of_output(2.0))
    caplog.clear()
    assert resume(source, out, options).found == []
    assert "other options" in caplog.text


def importance_of_output(value: float) -> bytes:
    """An importance matrix (.dat) with one entry."""
    name = b"output.weight"
    sizes = np.array([1, len(name)], np.int32).tobytes(), np.array([1, SMALL.hidden], np.int32).tobytes()
    return sizes[0] + name + sizes[1] + np.full(SMALL.hidden, value, np.float32).tobytes()


@pytest.mark.parametrize("cut", range(1, 200, 9))
def test_a_torn_or_garbled_journal_is_believed_up_to_its_first_bad_line(cut: int, source: Path, out: Path) -> None:
    interrupt(source, out, 22)
    journal = out.with_name("out.gguf.journal")
    data, said = journal.read_bytes(), Entries.read(journal)
    assert said is not None
    journal.write_bytes(data[:-cut] if cut % 2 else data[:-cut] + b"\x00" + data[-cut + 1 :])
    believed = Entries.read(journal)
    assert believed is not None
    assert believed.checksums.items() < said.checksums.items()
    assert believed.n_bytes == data[: len(data) - cut].rfind(b"\n") + 1
    assert set(resume(source, out).found) == {name for name in believed.checksums if not name.startswith("shard:")}


def test_lines_that_follow_a_torn_one_are_read_again(tmp_path: Path) -> None:
    path, binding = tmp_path / "a.journal", Binding("program", "checkpoint", "request")
    journal = Journal(path, binding)
    journal.add({"a": 1})
    journal.close()
    intact = path.stat().st_size
    path.write_bytes(path.read_bytes() + b'12345678 {"b": 2')
    journal = Journal(path, binding, intact)
    journal.add({"c": 3, "d": 4})
    journal.remove(["a", "c"])
    journal.close()
    entries = Entries.read(path)
    assert entries is not None
    assert entries.checksums == {"d": 4}
    assert binding.difference(entries.binding) is None


def line(text: bytes) -> bytes:
    """A line of a journal, its checksum right."""
    return b"%08x %s\n" % (zlib.crc32(text), text)


CONTENTS = {
    "a number": b"5",
    "null": b"null",
    "a list": b"[]",
    "signs and names, as an earlier version wrote": b'["+", "blk.0.attn_q.weight"]',
    "names that are lists": b'["+", ["x"]]',
    "a checksum that is a text": b'{"blk.0.attn_q.weight": "1"}',
    "a checksum that is true": b'{"blk.0.attn_q.weight": true}',
    "no JSON": b"{bad json",
    "no UTF-8": b'{"\xff": 1}',
    "half a character": b'{"\\ud800": []}',
    "nested without end": b"[" * 200_000,
    "digits without end": b'{"a": ' + b"9" * 10_000 + b"}",
    "nothing": b"",
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
@pytest.mark.parametrize("first", [True, False], ids=["first", "in the middle"])
def test_a_line_with_a_right_checksum_and_anything_else_in_it_ends_what_is_believed(
    content: bytes, first: bool, source: Path, out: Path
) -> None:
    interrupt(source, out, 22)
    journal = out.with_name("out.gguf.journal")
    lines = journal.read_bytes().splitlines(keepends=True)
    before, after = (lines[:0], lines) if first else (lines[:5], lines[5:])
    said = [name for text in before[1:] for name in json.loads(text[9:])]
    journal.write_bytes(b"".join([*before, line(content), *after]))
    assert set(resume(source, out).found) == {name for name in said if not name.startswith("shard:")}


def flipped(part: Path, at: int) -> None:
    """Change one bit of a byte."""
    with part.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


@pytest.mark.parametrize("where", ["header", "first tensor", "padding", "last byte"])
def test_a_byte_that_changed_meanwhile_is_made_again(
    where: str, source: Path, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    interrupt(source, out, 22)
    (layout,) = [layout for _, layout in Conversion.prepare(Source.local(source), out, choose()).layouts()]
    ends = [offset + tensor.n_bytes for offset, tensor in zip(layout.offsets, layout.tensors, strict=True)]
    padded = next(end for end, start in zip(ends, layout.offsets[1:], strict=False) if end < start)
    places = {"header": 100, "first tensor": layout.offsets[0], "padding": padded, "last byte": ends[-1] - 1}
    flipped(out.with_name("out.gguf.part"), places[where])
    caplog.clear()
    counts = resume(source, out)
    assert counts.found
    assert ("1 tensors have changed since they were written" in caplog.text) == (where in ("first tensor", "last byte"))


def test_a_partial_file_of_zeros_is_made_again_whole(source: Path, out: Path) -> None:
    interrupt(source, out, 22)
    part = out.with_name("out.gguf.part")
    n_bytes = part.stat().st_size
    with part.open("r+b") as file:
        file.write(bytes(n_bytes))
    assert resume(source, out).found == []


def test_tensors_that_a_journal_names_and_nobody_wrote_are_made(source: Path, out: Path) -> None:
    interrupt(source, out, 4)
    names = [tensor.gguf_name for tensor in source_tensors(Checkpoint.open(Source.local(source)))]
    journal = out.with_name("out.gguf.journal")
    said = Entries.read(journal)
    assert said is not None
    invented = {name: 1 for name in names if name not in said.checksums}
    journal.write_bytes(journal.read_bytes() + line(json.dumps(invented).encode()))
    assert set(resume(source, out).found) == {name for name in said.checksums if not name.startswith("shard:")}


def test_errors_that_another_run_would_meet_again_leave_nothing(source: Path, out: Path) -> None:
    interrupt(source, out)
    spoil(source, float("nan"))
    with pytest.raises(WeightError):
        write_recording(source, out, choose(), Counts())
    assert list(out.parent.iterdir()) == []


def test_a_conversion_that_another_process_goes_on_with_is_refused(source: Path, out: Path) -> None:
    interrupt(source, out)

    class Second(Counts):
        def started(self, tensor: object) -> None:
            with pytest.raises(OutputError, match="another conversion"):
                convert(source, out, choose())

    convert(source, out, choose(), Second())
    assert [path.name for path in out.parent.iterdir()] == [out.name]


@dataclass(frozen=True)
class Hub(LocalShards):
    """Shards of the directory, with a hub's faults."""

    breaks: str | None = None
    """The shard in whose middle the connection breaks."""
    wrong: str | None = None
    """The shard with a wrong checksum."""

    @contextmanager
    def stream(self, name: str) -> Iterator[ShardReader]:  # type: ignore[override]
        with super().stream(name) as reader:
            yield HubReader(reader, name == self.breaks, name == self.wrong)


def from_hub(directory: Path, **troubles: str) -> Source:
    return replace(Source.local(directory), shards=Hub(directory, **troubles))


class HubReader:
    def __init__(self, reader: ShardReader, breaks: bool, wrong: bool) -> None:
        self._reader, self._left, self._wrong, self._end = reader, 4 if breaks else -1, wrong, 0

    def read(self, offset: int, n_bytes: int) -> Bytes:
        assert offset >= self._end, "offsets rise"
        self._end = offset + n_bytes
        self._left -= 1
        if self._left == 0:
            raise TransferError("broke off")
        return self._reader.read(offset, n_bytes)

    def finish(self) -> None:
        if self._wrong:
            raise ChecksumError("wrong bytes")


def test_a_transfer_that_breaks_off_is_gone_on_with(source: Path, out: Path) -> None:
    with pytest.raises(TransferError):
        write_recording(from_hub(source, breaks=SECOND), out, choose(), Counts())
    assert {path.name for path in out.parent.iterdir()} == NAMES
    assert resume(source, out).found


def test_what_was_made_of_a_shard_with_wrong_bytes_is_made_again(source: Path, out: Path) -> None:
    with pytest.raises(TransferError):
        write_recording(from_hub(source, wrong=SECOND), out, choose(), Counts())
    wrong = {tensor.gguf_name for tensor in stored_in(source, SECOND)}
    found = set(resume(source, out).found)
    assert found
    assert not found & wrong


def test_a_shard_that_was_not_proven_is_proven_by_the_run_that_goes_on(source: Path, out: Path) -> None:

    with pytest.raises(KeyboardInterrupt):
        write_recording(source, out, choose(), Stops(KeyboardInterrupt(), 7))
    with pytest.raises(TransferError):
        write_recording(from_hub(source, wrong="model-00001-of-00003.safetensors"), out, choose(), Counts())
    assert not set(resume(source, out).found)
