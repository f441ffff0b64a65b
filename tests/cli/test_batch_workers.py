"""A batch that loses a worker goes on when it is back, and ends with what it has when it stays away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from batch_runs import chat_line, read_lines, write_lines, wrong_output
from lending import WorkerProcess, worker
from workers.test_workers import options, target

from glm_gguf import EngineError, SamplingParams
from glm_gguf.batches.input_file import InputRules
from glm_gguf.batches.open_batch import BatchPaths, open_batch
from glm_gguf.batches.result_line import LineResult
from glm_gguf.cli.batch import answer_here
from glm_gguf.cli.model_options import ModelChoice

LINES = [chat_line(f"long-{n}", "Tell me a story.", max_tokens=2 if n < 4 else 40) for n in range(24)]


def answer_all(
    model: Path,
    folder: Path,
    lenders: tuple[WorkerProcess, ...],
    watch: Callable[[LineResult], None],
    lost_seconds: float,
) -> int:
    """Answer the batch of a folder over workers; return how many lines were answered before."""
    paths = BatchPaths(folder / "in.jsonl", folder / "out.jsonl")
    choice = ModelChoice(model, options(*(lender.address for lender in lenders)), SamplingParams())
    with open_batch(paths, InputRules()) as batch, choice.open() as glm:
        n_found = batch.begin({})
        asyncio.run(answer_here(batch, glm, choice, watch, lost_seconds))
        batch.finish("input")
    return n_found


def test_a_batch_ends_where_its_worker_stays_away_and_keeps_its_results(
    tiny_gguf: Callable[[str], Path], tmp_path: Path
) -> None:
    model, source = tiny_gguf("F16"), write_lines(tmp_path / "in.jsonl", LINES)
    with worker() as staying, worker() as lost:
        lenders, told = (staying, lost), f"{lost.address}: a worker was lost, and the model could not be loaded again"
        with pytest.raises(EngineError, match=told) as raised:
            answer_all(model, source.parent, lenders, lambda result: lost.kill(), 1)
        assert "start it there: glm-gguf worker, then give the same command again: it goes on" in str(raised.value)
        kept = len(read_lines(tmp_path / "out.jsonl.part"))
        assert 0 < kept < len(LINES)
        with worker(port=target(lost)[1]):
            assert answer_all(model, source.parent, lenders, lambda result: None, 1) == kept
    assert wrong_output(LINES, read_lines(tmp_path / "out.jsonl")) is None


def test_a_batch_goes_on_when_its_worker_is_back(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    model, source, results = tiny_gguf("F16"), write_lines(tmp_path / "in.jsonl", LINES), 0
    with ExitStack() as stack, worker() as lost:

        def replace(result: LineResult) -> None:
            nonlocal results
            results += 1
            if results == 1:
                lost.kill()
                stack.enter_context(worker(port=target(lost)[1]))

        assert answer_all(model, source.parent, (lost,), replace, 60) == 0
    assert wrong_output(LINES, read_lines(tmp_path / "out.jsonl")) is None
