"""Passes that other programs disturb do not count, and a machine that is never left alone is told."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from glm_gguf.cpus import usable_cpus
from glm_gguf.llama.timed_passes import Disturbed, Pass, enough, fastest_seconds, typical_seconds, undisturbed

PASSES = {
    "nothing disturbs them": ([Pass(0.1), Pass(0.101), Pass(0.099)], True, 0.1),
    "one preemption in each": ([Pass(0.1, 1), Pass(0.101, 1), Pass(0.099, 1)], True, 0.1),
    "too short": ([Pass(0.01)] * 3, False, 0.01),
    "too few": ([Pass(0.5)] * 2, False, 0.5),
    "all but one disturbed, not yet for long": ([Pass(0.3, 80), Pass(0.1), Pass(0.2, 50)], False, 0.1),
    "all but one disturbed, for too long": ([Pass(0.3, 80), Pass(0.1), Pass(0.7, 200)], True, 0.1),
    "two that agree by chance": ([Pass(0.36, 100), Pass(0.368, 100)], False, None),
    "all disturbed, for too long": ([Pass(0.36, 100)] * 3, True, None),
}


@pytest.mark.parametrize("case", PASSES)
def test_passes_that_others_disturb_are_repeated(case: str) -> None:
    passes, expected, seconds = PASSES[case]
    assert enough(passes) == expected
    if seconds is None:
        with pytest.raises(Disturbed):
            undisturbed(passes)
    else:
        assert undisturbed(passes) == seconds


@pytest.fixture
def busy_machine() -> Iterator[None]:
    """Two programs that compute for every processor."""
    program = [sys.executable, "-c", "print(flush=True)\nwhile True: pass"]
    others = [subprocess.Popen(program, stdout=subprocess.PIPE) for _ in range(2 * usable_cpus())]
    try:
        for other in others:
            assert other.stdout is not None
            other.stdout.readline()
        yield
    finally:
        for other in others:
            other.kill()
            other.communicate()


def compute() -> None:
    """A tenth of a second and more of one thread."""
    until = time.thread_time() + 0.1
    while time.thread_time() < until:
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not count preemptions")
@pytest.mark.usefixtures("busy_machine")
def test_a_busy_machine_disturbs_the_walls_clock_and_not_a_threads() -> None:
    with pytest.raises(Disturbed):
        typical_seconds(compute, time.perf_counter)
    assert 0.1 <= typical_seconds(compute, time.thread_time) < 0.2
    assert fastest_seconds(compute, time.perf_counter) > 0.1
