"""An answer that loses a worker is told of once, and on a line of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lending import worker
from workers.test_workers import options

from glm_gguf import GLM, SamplingParams, WorkerLostError
from glm_gguf.chat.events import Event
from glm_gguf.cli.answer_view import show_answer

ENDLESS = SamplingParams(ignore_eos=True, temperature=2, top_p=1)


def test_a_worker_lost_in_an_answer_ends_the_line_and_is_no_log_line_too(
    tiny_gguf: Callable[[str], Path], capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with worker() as lender, GLM(tiny_gguf("F16"), options=options(lender.address, n_ctx=4096)) as glm:

        def answer() -> Iterator[Event]:
            for number, event in enumerate(glm.stream("Tell me a story.", sampling=ENDLESS)):
                if number == 20:
                    lender.kill()
                yield event

        with pytest.raises(WorkerLostError, match="start it there: glm-gguf worker, and load the model again"):
            show_answer(answer())
    shown = capsys.readouterr().out
    assert len(shown) > 20
    assert shown.endswith("\n")
    assert "was lost" not in caplog.text
