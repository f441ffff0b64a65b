"""Workers on machines of their own, which are namespaces here; scripts/check_workers.py tries more, for longer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from lending import WorkerProcess, worker
from waiting import until
from workers.test_workers import GREEDY, answers, options

from glm_gguf import GLM, WorkerLostError
from scripts.namespaces import Machine, machine, unavailable


@pytest.fixture
def machines() -> Iterator[list[tuple[Machine, WorkerProcess]]]:
    """Two machines, each with a worker."""
    if reason := unavailable():
        pytest.skip(reason)
    with ExitStack() as stack:
        found = []
        for number in (1, 2):
            there = stack.enter_context(machine(number))
            lent = worker("--host", there.address, prefix=there.prefix, port=50052)
            found.append((there, stack.enter_context(lent)))
        yield found


def test_machines_that_lose_packets_answer_alike(
    machines: list[tuple[Machine, WorkerProcess]], tiny_gguf: Callable[[str], Path]
) -> None:
    addresses = [lender.address for _, lender in machines]
    assert addresses == [f"{there.address}:50052" for there, _ in machines]
    machines[0][0].lose(2)
    assert answers(tiny_gguf("F16"), *addresses) == answers(tiny_gguf("F16"))


def test_a_pulled_cable_is_noticed(
    machines: list[tuple[Machine, WorkerProcess]], tiny_gguf: Callable[[str], Path]
) -> None:
    with GLM(tiny_gguf("F16"), options=options(*(lender.address for _, lender in machines))) as glm:
        expected = glm.complete("Hello", sampling=GREEDY)
        machines[1][0].cut()
        with pytest.raises(WorkerLostError, match="no sign of life for 10 s"):
            glm.complete("Hello, who are you?", sampling=GREEDY)
    until(lambda: not machines[0][1].children)
    machines[1][0].mend()
    with GLM(tiny_gguf("F16"), options=options(*(lender.address for _, lender in machines))) as glm:
        assert glm.complete("Hello", sampling=GREEDY) == expected
