"""How many CPUs there are to use, which a container may limit below what the machine has."""

from __future__ import annotations

import os


def usable_cpus() -> int:
    """Count the CPUs this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
