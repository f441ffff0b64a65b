"""How long a computation takes on this machine when other programs leave it alone."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

LEAST_PASSES: Final = 3
SECONDS: Final = 0.15
MOST_SECONDS: Final = 1.0
"""How long passes are repeated while other programs disturb them."""
PREEMPTIONS_A_SECOND: Final = 60
"""Where another program wants the same processors, the scheduler takes them away 250 times a second and more."""

Clock = Callable[[], float]


class Disturbed(Exception):
    """Other programs disturbed every pass."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One run of a computation: what a clock says of it, and how often the scheduler took a processor from it."""

    seconds: float
    preemptions: int = 0

    @property
    def disturbed(self) -> bool:
        """Whether its threads waited for one another, since another program had the processor of one of them."""
        return self.preemptions > 1 + PREEMPTIONS_A_SECOND * self.seconds


def typical_seconds(run: Callable[[], None], clock: Clock) -> float:
    """Run a computation several times; returns the median of the passes that nothing disturbs. Raises Disturbed.

    The clock of a process or thread is not disturbed.
    """
    return undisturbed(_passes(run, clock))


def fastest_seconds(run: Callable[[], None], clock: Clock) -> float:
    """Run a computation several times; returns the seconds of the fastest pass, disturbed or not."""
    return min(one.seconds for one in _passes(run, clock))


def enough(passes: Sequence[Pass]) -> bool:
    """Tell whether these passes say how fast this machine is, or never will."""
    quiet = _quiet(passes)
    if len(quiet) >= LEAST_PASSES and sum(quiet) >= SECONDS:
        return True
    return len(passes) >= LEAST_PASSES and sum(one.seconds for one in passes) > MOST_SECONDS


def undisturbed(passes: Sequence[Pass]) -> float:
    """Return the median of the passes that nothing disturbed; raises Disturbed without any."""
    quiet = _quiet(passes)
    if not quiet:
        raise Disturbed
    return median(quiet)


def _quiet(passes: Sequence[Pass]) -> list[float]:
    """Return the seconds of the passes that nothing disturbed."""
    return [one.seconds for one in passes if not one.disturbed]


def _passes(run: Callable[[], None], clock: Clock) -> list[Pass]:
    """Run a computation until its passes are enough."""
    passes: list[Pass] = []
    while not enough(passes):
        passes.append(_timed(run, clock))
    return passes


def _timed(run: Callable[[], None], clock: Clock) -> Pass:
    before, start = _preemptions(), clock()
    run()
    seconds, taken = clock() - start, _preemptions() - before
    return Pass(seconds, taken if clock is time.perf_counter else 0)


def _preemptions() -> int:
    """Return how often the scheduler took a processor from a thread of this process; 0 where it does not tell."""
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
