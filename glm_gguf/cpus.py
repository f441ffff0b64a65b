"""Count the CPUs that this process may use; a container may have fewer than the machine."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Final

ROOT: Final = Path("/")


def usable_cpus() -> int:
    """Count the CPUs of this process, within the CPU quota of its container."""
    return _within_quota(len(_allowed()))


def usable_cores() -> int:
    """Count their physical cores, since two threads of a core share its matrix units; within the quota too."""
    siblings = {_siblings(cpu) for cpu in _allowed()}
    return _within_quota(len(siblings))


def quota(root: Path = ROOT) -> float | None:
    """Read the CPU quota of this process's control group, in CPUs; None if there is none.

    Sources: cpu.max of cgroup v2, cpu.cfs_quota_us and cpu.cfs_period_us of v1. Parent groups limit too.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text("utf-8").splitlines()
    except OSError:  # no Linux
        return None
    limits = [limit for line in lines for limit in _limits(root / "sys/fs/cgroup", line)]
    return min(limits, default=None)


def _allowed() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def _siblings(cpu: int) -> str:
    """Name the physical core of a CPU: the list of CPUs on it, or the CPU alone if the system does not say."""
    try:
        path = ROOT / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
        return path.read_text("ascii").strip()
    except OSError:
        return str(cpu)


def _within_quota(count: int) -> int:
    limit = quota()
    return count if limit is None else max(1, min(count, math.ceil(limit)))


def _limits(mounted: Path, line: str) -> list[float]:
    """Return the limits of one line of /proc/self/cgroup, `hierarchy:controllers:path`, and of its parent groups."""
    _, controllers, path = line.split(":", 2)
    if controllers and "cpu" not in controllers.split(","):
        return []
    top = mounted / controllers if controllers else mounted
    group = top / path.lstrip("/")
    # In a container the path is the host's, but the container's group is mounted at the top.
    groups = [group, *(parent for parent in group.parents if parent.is_relative_to(top))]
    found = [_limit(group, unified=not controllers) for group in groups]
    return [limit for limit in found if limit is not None]


def _limit(group: Path, *, unified: bool) -> float | None:
    try:
        if unified:
            most, period = (group / "cpu.max").read_text("ascii").split()
        else:
            most, period = ((group / f"cpu.cfs_{name}_us").read_text("ascii").strip() for name in ("quota", "period"))
    except (OSError, ValueError):  # not there, or not in this form
        return None
    # "max" (v2) and -1 (v1) are no limit.
    return int(most) / int(period) if most.isdecimal() and period.isdecimal() and int(period) else None
