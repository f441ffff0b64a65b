"""A soak's report tells a server whose memory grows from one whose memory goes up and down."""

from __future__ import annotations

import pytest

from scripts.soak_report import Findings, Sample


@pytest.mark.parametrize(
    ("megabytes", "grew"),
    [
        pytest.param([200 + 5 * rest for rest in range(30)], True, id="a leak"),
        pytest.param([250, 300] + [280 + 30 * (rest % 2) for rest in range(28)], False, id="up and down"),
        pytest.param([200, 240, 280, 300] + [305] * 11, False, id="arenas fill"),
        pytest.param([200, 250, 300], False, id="too short to judge"),
    ],
)
def test_memory_is_judged_by_many_rests(megabytes: list[float], grew: bool) -> None:
    findings = Findings({}, [Sample(0, 1, True, value, 9, 9, 0, 0) for value in megabytes])
    findings.check_flat()
    assert bool(findings.wrong) == grew


def test_file_handles_that_stay_open_are_wrong() -> None:
    findings = Findings({}, [Sample(0, 1, True, 200, files, 9, 0, 0) for files in (20, 20, 23)])
    findings.check_flat()
    assert findings.wrong == ["server 1: files grew from 20 to 23"]
