"""A batch on the disk: its input, the results so far in OUT.part, and OUT.journal, which tells what they are of."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Final, Literal

from glm_gguf.batches.input_file import CheckedInput, InputRules, check_input, read_extent
from glm_gguf.batches.line_index import Extent, LineIndex, is_index
from glm_gguf.batches.result_line import LineResult, read_result
from glm_gguf.errors import GlmGgufError, OutputError, RequestError
from glm_gguf.file_calls import FILE_CALLS
from glm_gguf.file_lock import try_lock
from glm_gguf.private_file import PRIVATE, open_private
from glm_gguf.regular_file import open_regular, read_text
from glm_gguf.whole_file import is_one_of, whole_file, write_whole

Order = Literal["input", "finished"]
MOST_JOURNAL_BYTES: Final = 2**16


@dataclass(frozen=True, slots=True)
class BatchPaths:
    """Where a batch lies."""

    input: Path
    out: Path
    kept: tuple[Path, ...] = ()
    """Further files that the batch reads, such as the model."""

    def beside(self, ending: str) -> Path:
        """Return the path of a file that stands beside the output while the batch runs."""
        return self.out.with_name(f"{self.out.name}.{ending}")


@dataclass(frozen=True, slots=True)
class OpenBatch:
    """A batch whose input is checked; it is this process's alone. One thread uses it at a time."""

    paths: BatchPaths
    input: BufferedReader
    part: FileIO
    index: LineIndex
    checked: CheckedInput

    def begin(self, identity: Mapping[str, str]) -> int:
        """Begin, or go on where an earlier run ended; return how many results it left.

        `identity` is what results depend on; RequestError where those that are there are of something else.
        """
        identity = {"input": self.checked.sha256, **identity}
        journal = self.paths.beside("journal")
        if os.fstat(self.part.fileno()).st_size == 0:
            write_whole(journal, [json.dumps(identity).encode()])
            return 0
        fix = f"remove {self.paths.beside('part').name} to begin anew, or name another output"
        try:
            found = json.loads(read_text(journal, MOST_JOURNAL_BYTES, fix=fix))
        except ValueError:
            found = None
        others = [name for name, value in identity.items() if not isinstance(found, dict) or found.get(name) != value]
        if others:
            what = f"the results there were made with another {' and other '.join(others)}"
            raise RequestError(what, path=journal, fix=fix)
        return self._found()

    def add(self, result: LineResult) -> bool:
        """Append a result, unless the line has one; it survives this process, and after `flush` the machine."""
        extent = Extent(self.part.tell(), len(result.line))
        if not self.index.note_result(result.number, extent, ok=result.ok):
            return False
        with self._as_output_error():
            written = self.part.write(result.line)
            if written != len(result.line):
                raise OSError(28, "No space left on device")
        return True

    def flush(self) -> None:
        """Give the results to the disk. Any thread may call it."""
        with self._as_output_error():
            FILE_CALLS.flush(self.part.fileno())

    def finish(self, order: Order) -> None:
        """Give the output its name. The journal goes last: what a crash leaves is never taken for another batch's."""
        part = self.paths.beside("part")
        if order == "input":
            self.write_results(part, ok=None)
        else:
            self.flush()
        with self._as_output_error():
            part.replace(self.paths.out)
        self.remove()

    def write_results(self, path: Path, *, ok: bool | None) -> int:
        """Write results in the order of the input, all or only the good or the failed ones; return how many bytes."""
        count = 0
        with open(self.paths.beside("part"), "rb") as part, whole_file(path, PRIVATE) as file:
            for extent in self.index.results(ok=ok):
                file.write(read_extent(part, extent))
                count += extent.length
            file.finish()
        return count

    def remove(self) -> None:
        """Remove what stands beside the output."""
        for ending in ("part", "journal"):
            self.paths.beside(ending).unlink(missing_ok=True)

    def _found(self) -> int:
        """Index the results that an earlier run left; a torn line and all after it are computed again."""
        offset, count = 0, 0
        with open(self.paths.beside("part"), "rb") as part:
            while (data := part.readline()) and (read := read_result(data)) is not None:
                number = self.index.number_of(read[0])
                if number is None or not self.index.note_result(number, Extent(offset, len(data)), ok=read[1]):
                    break
                offset += len(data)
                count += 1
        with self._as_output_error():
            self.part.truncate(offset)
            self.part.seek(offset)
        return count

    @contextmanager
    def _as_output_error(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            fix = "free some space, and run it again: what is answered is kept"
            raise OutputError(f"cannot be written: {error.strerror}", path=self.paths.out, fix=fix) from error


@contextmanager
def open_batch(paths: BatchPaths, rules: InputRules) -> Iterator[OpenBatch]:
    """Lock a batch, and check its input; raises GlmGgufError where the output exists or another process is at it."""
    with ExitStack() as stack:
        file = stack.enter_context(open_regular(paths.input))
        _require_own(paths)
        part = stack.enter_context(_locked_part(paths))
        index = stack.enter_context(LineIndex(paths.beside("index")))
        try:
            yield OpenBatch(paths, file, part, index, check_input(file, index, rules))
        finally:
            if paths.beside("part").exists() and os.fstat(part.fileno()).st_size == 0:
                for ending in ("part", "journal"):
                    paths.beside(ending).unlink(missing_ok=True)


def _require_own(paths: BatchPaths) -> None:
    """Raise OutputError where the batch would write or remove a file that it reads, or one that is not of a batch."""
    beside = [paths.beside(ending) for ending in ("part", "journal", "index")]
    for path in (paths.out, *beside):
        if is_one_of(path, (paths.input, *paths.kept)):
            what = f"a batch to {paths.out.name} reads this file, and would write it"
            raise OutputError(what, path=path, fix="name another output")
    part, journal, index = beside
    for path, own in ((part, lambda _: True), (journal, _is_journal), (index, is_index)):
        if os.path.lexists(path) and (path.is_symlink() or not path.is_file() or not own(path)):
            what = f"this file is of no batch, and a batch to {paths.out.name} would overwrite it"
            raise OutputError(what, path=path, fix="name another output, or move it away")


def _is_journal(path: Path) -> bool:
    try:
        found = json.loads(read_text(path, MOST_JOURNAL_BYTES))
    except (ValueError, GlmGgufError):
        return False
    return isinstance(found, dict) and "input" in found


def _locked_part(paths: BatchPaths) -> FileIO:
    """Open OUT.part, and lock it."""
    part = paths.beside("part")
    if paths.out.exists():
        if not part.exists():
            for ending in ("journal", "index"):  # which a crash may have left
                paths.beside(ending).unlink(missing_ok=True)
        raise OutputError("the output exists", path=paths.out, fix="remove it, or name another")
    try:
        descriptor = open_private(os.fspath(part), os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror}", path=part, fix="name another place") from error
    file = FileIO(descriptor, "r+")
    if try_lock(descriptor) is False:
        file.close()
        raise OutputError("another process answers this batch", path=part, fix="wait for it")
    return file
