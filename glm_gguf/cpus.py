"""What this process may compute on: its CPUs, their physical cores, and what a container leaves of them."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from glm_gguf.control_groups import ControlGroup, control_groups
from glm_gguf.core_kinds import Core, physical_cores

ROOT: Final = Path("/")


@dataclass(frozen=True, slots=True)
class Cores:
    """The cores that this process may use; a container's quota limits the threads on them."""

    n_cpus: int
    """CPUs as the system counts them, several a core where a core runs several threads."""
    n_fast: int
    """Physical cores, without the slow ones."""
    n_slow: int
    """Efficiency cores, beside which there are faster ones."""
    quota: float | None
    """CPUs that the container may use at once; None without a limit."""

    @classmethod
    def here(cls) -> Self:
        """Look at this machine."""
        allowed = _allowed()
        return cls.of(physical_cores(allowed), allowed, quota())

    @classmethod
    def of(cls, cores: Sequence[Core], allowed: Sequence[int], limit: float | None) -> Self:
        """Count `cores`, or the `allowed` CPUs where no cores are known; `limit` is the quota."""
        fast = sum(not core.is_slow for core in cores)
        if not fast:  # only slow ones are allowed, or nothing tells
            return cls(sum(len(core.cpus) for core in cores) or len(allowed), len(cores) or len(allowed), 0, limit)
        return cls(sum(len(core.cpus) for core in cores), fast, len(cores) - fast, limit)

    @property
    def n_compute_threads(self) -> int:
        """Threads for llama.cpp: one a fast core, since all of them wait for the last, within the quota."""
        return self._within_quota(self.n_fast)

    @property
    def n_convert_threads(self) -> int:
        """Threads for conversions, whose chunks are independent of each other: one a CPU, within the quota."""
        return self._within_quota(self.n_cpus)

    def __str__(self) -> str:
        n_cores = self.n_fast + self.n_slow
        told = f"{self.n_fast} performance cores of {n_cores}" if self.n_slow else str(n_cores)
        if self.n_cpus != n_cores:
            told += f", {self.n_cpus} CPUs"
        return told if self.quota is None else f"{told}, of which the container may use {self.quota:g} CPUs"

    def as_json(self) -> dict[str, Any]:
        """Return the counts for JSON; `cores` is the default number of threads that compute answers."""
        return {
            "cores": self.n_compute_threads,
            "performance_cores": self.n_fast,
            "slow_cores": self.n_slow,
            "cpus": self.n_cpus,
            "cpu_quota": self.quota,
        }

    def _within_quota(self, count: int) -> int:
        return count if self.quota is None else max(1, min(count, math.ceil(self.quota)))


def usable_cpus() -> int:
    """Count the CPUs of this process, within the CPU quota of its container."""
    return Cores.here().n_convert_threads


def usable_cores() -> int:
    """Count its physical cores, without slow ones beside faster ones; within the quota too."""
    return Cores.here().n_compute_threads


def quota(root: Path = ROOT) -> float | None:
    """Read the CPU quota of this process's control group, in CPUs; None if there is none.

    Sources: cpu.max of cgroup v2, cpu.cfs_quota_us and cpu.cfs_period_us of v1. Parent groups limit too.
    """
    limits = [_limit(group) for group in control_groups(root, "cpu")]
    return min((limit for limit in limits if limit is not None), default=None)


def _allowed() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def _limit(group: ControlGroup) -> float | None:
    directory = group.directory
    try:
        if group.unified:
            most, period = (directory / "cpu.max").read_text("ascii").split()
        else:
            most, period = (
                (directory / f"cpu.cfs_{name}_us").read_text("ascii").strip() for name in ("quota", "period")
            )
    except (OSError, ValueError):  # not there, or not in this form
        return None
    # "max" (v2) and -1 (v1) are no limit.
    return int(most) / int(period) if most.isdecimal() and period.isdecimal() and int(period) else None
