"""How much main memory is free: what the machine has available, within the limits of the process's control groups."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from glm_gguf.control_groups import ControlGroup, control_groups

ROOT: Final = Path("/")
OTHERS_SHARE: Final = 0.1
"""Of the memory that a machine has available: left to other programs where we choose a size ourselves."""
MARGIN: Final = 2**25
"""Bytes that stay free in a container too, for what a process takes without a plan."""
NO_LIMIT: Final = 2**62  # version 1 writes 2^63 less a page


@dataclass(frozen=True, slots=True)
class FreeMemory:
    """Bytes of main memory, without swapping."""

    available: int
    for_others: int
    """Of these, what a size of our own choice leaves free. A container's memory is ours alone, but for a MARGIN."""


def free_memory(root: Path = ROOT) -> FreeMemory:
    """Read what is free; the control groups are those of Linux, below `root`."""
    machine: int = psutil.virtual_memory().available
    container = min((max(0, limit - used) for limit, used in _groups(root)), default=machine)
    available = min(machine, container)
    return FreeMemory(available, max(MARGIN, available - int(machine * (1 - OTHERS_SHARE))))


def available_memory() -> int:
    """Return the free bytes of main memory, without swapping and within the container."""
    return free_memory().available


def total_memory(root: Path = ROOT) -> int:
    """Return the bytes of main memory, or the container's limit where that is less."""
    machine: int = psutil.virtual_memory().total
    return min(machine, *(limit for limit, _ in _groups(root)), machine)


def _groups(root: Path) -> list[tuple[int, int]]:
    """Return the limit and the used bytes of each control group of this process that has a limit."""
    return [limit for group in control_groups(root, "memory") if (limit := _limit(group))]


def _limit(group: ControlGroup) -> tuple[int, int] | None:
    """Read one group; the kernel can drop the page cache, which is not in use."""
    names = ("memory.max", "memory.current") if group.unified else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    limit, used = (_text(group.directory / name).strip() for name in names)
    if not (limit.isdecimal() and used.isdecimal()) or int(limit) >= NO_LIMIT:
        return None
    counts = dict(line.split() for line in _text(group.directory / "memory.stat").splitlines())
    cached = sum(
        int(counts.get(f"{'' if group.unified else 'total_'}{name}", 0)) for name in ("active_file", "inactive_file")
    )
    return int(limit), max(0, int(used) - cached)


def _text(path: Path) -> str:
    """Read a file of the kernel's; empty where there is none."""
    try:
        return path.read_text("utf-8")
    except OSError:
        return ""
