"""Answers the batches of a server, one after another, beside its clients' requests."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Literal

from glm_gguf.batches.answer_lines import AnswerRequest, answer_lines
from glm_gguf.batches.input_file import InputRules, read_extent
from glm_gguf.batches.open_batch import BatchPaths, OpenBatch, open_batch
from glm_gguf.batches.request_line import LineError, read_line
from glm_gguf.batches.result_line import LineResult, unanswered_line
from glm_gguf.errors import EngineError, GlmGgufError, RequestError
from glm_gguf.server.batches.objects import UNFINISHED, BatchErrors, BatchObject, FileObject, RequestCounts
from glm_gguf.server.batches.store import BatchStore, new_file

LOGGER = logging.getLogger(__name__)
TICK_SECONDS: Final = 60.0
"""How often expired files are deleted, and how long the runner waits after an error of the machine."""
MOST_STOPS: Final = 3
"""Failures of the model in a row, without a result between them, after which a batch fails."""
STOP_SECONDS: Final = 5.0
End = Literal["completed", "expired", "cancelled", "failed"]
WHY: Final = {
    "expired": ("batch_expired", "The request was not answered within the completion window."),
    "cancelled": ("batch_cancelled", "The batch was cancelled before the request was answered."),
    "failed": ("model_failed", "The model failed before the request was answered."),
}


class _CannotAnswer(Exception):
    """A batch will never be answered, for these errors of its input."""

    def __init__(self, *errors: LineError) -> None:
        super().__init__()
        self.errors = errors


class BatchRunner:
    """One task of the event loop. Handlers tell it of new and cancelled batches."""

    def __init__(self, store: BatchStore, answer: AnswerRequest) -> None:
        self._store = store
        self._answer = answer
        self._changed = asyncio.Event()
        self._current: BatchObject | None = None

    def close(self) -> None:
        """Let another server have the batches."""
        self._store.close()

    def notice(self) -> None:
        """Look for a new batch, or whether the current one was cancelled."""
        self._changed.set()

    def counted(self, batch: BatchObject) -> BatchObject:
        """Return a batch with the counts of this moment."""
        current = self._current
        return (
            batch if current is None or current.id != batch.id else _with(batch, request_counts=current.request_counts)
        )

    async def run(self) -> None:
        """Answer batches until cancelled; what is under way goes on at the next start."""
        while True:
            self._changed.clear()
            try:
                self._store.delete_expired()
                batch = self._store.next_batch()
                if batch is not None:
                    await self._end_of(batch)
                    continue
            except GlmGgufError as error:
                LOGGER.error("batches wait: %s", error)
            except Exception:  # the outermost edge of this task
                LOGGER.exception("batches wait")
            await self._wait(TICK_SECONDS)

    async def _end_of(self, batch: BatchObject) -> None:
        """Bring one batch to its end; GlmGgufError where it has to wait, such as for room on the disk."""
        try:
            await self._process(batch)
        except GlmGgufError:
            raise
        except _CannotAnswer as error:
            self._fail(batch, error.errors)
        except Exception:  # the other batches go on
            LOGGER.exception("a batch failed")
            self._fail(batch)

    def _fail(self, batch: BatchObject, errors: Sequence[LineError] = ()) -> None:
        """Note that a batch cannot be answered, and remove what there is of its results."""
        told = BatchErrors(data=[error.as_json() for error in errors]) if errors else None
        self._store.update(_with(self._store.batch(batch.id), status="failed", failed_at=_now(), errors=told))
        for left in self._store.work.glob(f"{batch.id}.*"):
            left.unlink(missing_ok=True)

    async def _wait(self, seconds: float) -> None:
        """Wait until something changes, for so many seconds at most."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _process(self, batch: BatchObject) -> None:
        """Check the input of a batch, answer it, and write the results."""
        paths = BatchPaths(self._store.path(batch.input_file_id), self._store.work / batch.id)
        if not paths.input.exists():
            raise _CannotAnswer(LineError("input_gone", "The input file is gone.", None))
        rules = InputRules(batch.endpoint, self._store.settings.requests)
        with ExitStack() as stack:
            opened = await asyncio.to_thread(stack.enter_context, open_batch(paths, rules))
            batch = self._store.batch(batch.id)
            if batch.status not in UNFINISHED:  # it was cancelled meanwhile
                return
            if opened.checked.errors:
                raise _CannotAnswer(*opened.checked.errors)
            if batch.status == "validating":
                batch = _with(batch, status="in_progress", in_progress_at=_now())
                self._store.update(batch)
            try:
                await asyncio.to_thread(opened.begin, {"batch": batch.id})
                self._current = _with(batch, request_counts=_counts(opened))
                await self._finish(batch, opened, await self._end(batch, opened))
            except RequestError as error:  # the input has changed
                what = f"The input file is another one now: {error.what}."
                raise _CannotAnswer(LineError("input_changed", what, None)) from error
            finally:
                self._current = None

    async def _end(self, batch: BatchObject, opened: OpenBatch) -> End:
        """Answer the lines of a batch, up to its end or its expiry."""
        answering = asyncio.create_task(self._answered(opened))
        try:
            while not answering.done():
                self._changed.clear()
                if self._store.batch(batch.id).status == "cancelling":
                    return "cancelled"
                left = batch.expires_at - time.time()
                if left <= 0:
                    return "expired"
                change = asyncio.create_task(self._changed.wait())
                try:
                    await asyncio.wait((answering, change), timeout=left, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    change.cancel()
            return "completed" if answering.result() else "failed"
        finally:
            answering.cancel()
            await asyncio.wait([answering])

    async def _answered(self, opened: OpenBatch) -> bool:
        """Answer all lines; False where the model fails again and again."""
        stops = 0
        while stops < MOST_STOPS:
            before = self._n_done
            try:
                await answer_lines(opened, self._answer, self._store.settings.parallel, self._count)
                return True
            except EngineError as error:
                LOGGER.error("a batch waits: %s", error)
            stops = stops + 1 if self._n_done == before else 1
            await asyncio.sleep(STOP_SECONDS)
        return False

    @property
    def _n_done(self) -> int:
        counts = self._current.request_counts if self._current else RequestCounts()
        return counts.completed + counts.failed

    def _count(self, result: LineResult) -> None:
        """Count a result of the current batch."""
        assert self._current is not None
        counts = self._current.request_counts
        done, failed = counts.completed + result.ok, counts.failed + (not result.ok)
        new = RequestCounts(total=counts.total, completed=done, failed=failed)
        self._current = _with(self._current, request_counts=new)

    async def _finish(self, batch: BatchObject, opened: OpenBatch, end: End) -> None:
        """Write the output and the errors, and name them; a crash before that does it again."""
        counts = _counts(opened)
        if end != "completed":
            await asyncio.to_thread(_add_unanswered, opened, end)
        batch = _with(self._store.batch(batch.id), request_counts=counts)
        if batch.status == "in_progress":
            batch = _with(batch, status="finalizing", finalizing_at=_now())
            self._store.update(batch)
        output = await self._written(batch, opened, ok=True)
        errors = await self._written(batch, opened, ok=False)
        files = tuple(file for file in (output, errors) if file is not None)
        ends = {"status": end, f"{end}_at": _now()}
        made = {"output_file_id": output and output.id, "error_file_id": errors and errors.id}
        self._store.update(_with(batch, **ends, **made), files)
        opened.remove()

    async def _written(self, batch: BatchObject, opened: OpenBatch, *, ok: bool) -> FileObject | None:
        """Write the good results or the failed ones into a file; None where there are none."""
        if not opened.index.count_results(ok=ok):
            return None
        name = f"{batch.id}_{'output' if ok else 'error'}.jsonl"
        file = new_file(name, "batch_output", 0, batch.output_expires_after)
        path: Path = self._store.path(file.id)
        n_bytes = await asyncio.to_thread(opened.write_results, path, ok=ok)
        return file.model_copy(update={"bytes": n_bytes})


def _counts(opened: OpenBatch) -> RequestCounts:
    """Count the results that are there."""
    done, failed = opened.index.count_results(ok=True), opened.index.count_results(ok=False)
    return RequestCounts(total=opened.checked.n_lines, completed=done, failed=failed)


def _add_unanswered(opened: OpenBatch, end: End) -> None:
    """Write why each line that is left has no answer."""
    code, message = WHY[end]
    for placed in opened.index.pending():
        line = read_line(read_extent(opened.input, placed.extent), placed.number)
        assert not isinstance(line, LineError)
        opened.add(unanswered_line(placed.number, line.custom_id, code, message))
    opened.flush()


def _with(batch: BatchObject, **fields: Any) -> BatchObject:
    return batch.model_copy(update=fields)


def _now() -> int:
    return int(time.time())
