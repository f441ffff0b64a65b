"""Names of test cases that are the same in every process."""

from __future__ import annotations

import re


def without_address(value: object) -> str:
    """Write a value without the addresses in memory that `repr` shows."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
