"""Only our own errors leave a reader, in bounded time. `scripts/fuzz` does the same for hours."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.faults.mutations import inputs
from tests.faults.targets import SEEDS, TARGETS, seeds, target, try_out

MOST_SECONDS = 20.0
"""Processor time of one input; a hundredth of it on an idle machine."""
EXAMPLES = 60
NAMES = pytest.mark.parametrize("name", sorted(TARGETS))


def timed(name: str, data: bytes) -> None:
    begun = time.thread_time()
    try_out(target(name), data)
    assert time.thread_time() - begun < MOST_SECONDS


@pytest.mark.parametrize("path", sorted(SEEDS.glob("*/*")), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_good_inputs_and_those_that_were_found_raise_only_our_errors(path: Path) -> None:
    timed(path.parent.name, path.read_bytes())


@NAMES
def test_mutated_inputs_raise_only_our_errors(name: str) -> None:
    run = target(name)

    @seed(0)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs(name))
    def check(data: bytes) -> None:
        begun = time.thread_time()
        try_out(run, data)
        assert time.thread_time() - begun < MOST_SECONDS

    check()


def test_every_target_has_seeds_and_every_folder_a_target() -> None:
    assert {path.name for path in SEEDS.iterdir()} == set(TARGETS)
    assert all(seeds(name) for name in TARGETS)
