"""Lines that are answered side by side end with the error of the disk."""

from __future__ import annotations

import asyncio
import json
import os
from io import FileIO
from pathlib import Path

import pytest
from batch_runs import chat_line
from waiting import PATIENCE

from glm_gguf.batches.answer_lines import answer_lines
from glm_gguf.batches.input_file import InputRules, check_input
from glm_gguf.batches.line_index import LineIndex
from glm_gguf.batches.open_batch import BatchPaths, OpenBatch
from glm_gguf.batches.result_line import Answer
from glm_gguf.errors import OutputError


@pytest.mark.skipif(os.name != "posix", reason="this system flushes pipes")
def test_a_disk_that_loses_results_ends_a_batch_at_once(tmp_path: Path) -> None:
    paths = BatchPaths(tmp_path / "in", tmp_path / "out")
    paths.input.write_text(json.dumps(chat_line("a", "Hi")))

    async def answer(url: str, body: bytes) -> Answer:
        await asyncio.Event().wait()
        raise AssertionError

    reading, writing = os.pipe()  # which no system can flush to a disk
    with (
        open(reading, "rb"),
        FileIO(writing, "w") as part,
        open(paths.input, "rb") as file,
        LineIndex(tmp_path / "index") as index,
    ):
        batch = OpenBatch(paths, file, part, index, check_input(file, index, InputRules()))

        async def ended() -> bool:
            async with asyncio.timeout(PATIENCE) as limit:
                with pytest.raises(OutputError, match="cannot be written"):
                    await answer_lines(batch, answer, 2, lambda result: None)
            return not limit.expired()

        assert asyncio.run(ended())
