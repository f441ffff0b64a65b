"""Which physical cores a machine has, and which of them are slow beside the others, as its system tells."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path("/")
LEAST_CAPACITY: Final = 0.5
"""Share of the fastest core's capacity below which a core is slow; recorded efficiency cores have 0.37 to 0.45."""
RELATION_PROCESSOR_CORE: Final = 0  # enum LOGICAL_PROCESSOR_RELATIONSHIP of winnt.h
RECORD: Final = struct.Struct("=II")
"""SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX: DWORD Relationship, DWORD Size, then a PROCESSOR_RELATIONSHIP."""
RELATIONSHIP: Final = struct.Struct("=xB20xH")
"""PROCESSOR_RELATIONSHIP: BYTE Flags, BYTE EfficiencyClass, BYTE Reserved[20], WORD GroupCount, then as many masks."""
GROUP: Final = struct.Struct("=QH6x")
"""GROUP_AFFINITY of 64-bit Windows: KAFFINITY Mask, WORD Group, WORD Reserved[3]."""


@dataclass(frozen=True, slots=True)
class Core:
    """A physical core."""

    cpus: tuple[int, ...]
    """The system's numbers of the CPUs on it: more than one where a core runs several threads."""
    is_slow: bool
    """An efficiency core, beside which the machine has faster ones."""


def physical_cores(allowed: Collection[int]) -> tuple[Core, ...]:
    """List this machine's cores, on Linux those with `allowed` CPUs; none where the system does not tell."""
    if sys.platform == "darwin":
        return mac_cores(_sysctl)
    if sys.platform == "win32":
        return windows_cores(_processor_records())
    return linux_cores(allowed)


def linux_cores(allowed: Collection[int], root: Path = ROOT) -> tuple[Core, ...]:
    """List the cores of the `allowed` CPUs below `root`/sys.

    Sources: topology/thread_siblings_list of each CPU; the performance counters of Intel's hybrid processors, one a
    kind of core; cpu_capacity of ARM and RISC-V (Documentation/ABI/testing/sysfs-devices-system-cpu of Linux).
    """
    cores: dict[str, list[int]] = {}
    for cpu in sorted(allowed):
        # two threads of a core share its matrix units; without a list every CPU counts as a core
        siblings = _read(root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        cores.setdefault(siblings or str(cpu), []).append(cpu)
    fast = _intel_performance_cpus(root) or _cpus_with_capacity(allowed, root)
    return tuple(Core(tuple(cpus), not fast.issuperset(cpus)) for cpus in cores.values())


def mac_cores(ask: Callable[[str], int | None]) -> tuple[Core, ...]:
    """List the cores by performance level, the fastest first; `ask` returns the value of a sysctl, or None.

    macOS binds no thread to a CPU, so the numbers of the CPUs are made up. Source: "Determining system capabilities"
    of Apple's kernel documentation.
    """
    levels = [f"hw.perflevel{level}." for level in range(ask("hw.nperflevels") or 0)] or ["hw."]  # Intel's have none
    cores: list[Core] = []
    n_cpus = 0
    for level, prefix in enumerate(levels):
        count = ask(f"{prefix}physicalcpu") or 0
        threads = (ask(f"{prefix}logicalcpu") or count) // max(1, count)
        for _ in range(count):
            cores.append(Core(tuple(range(n_cpus, n_cpus + threads)), level > 0))
            n_cpus += threads
    return tuple(cores)


def windows_cores(records: bytes) -> tuple[Core, ...]:
    """List the cores in records of GetLogicalProcessorInformationEx; those of the highest efficiency class are fast."""
    found = list(_parsed_records(records))
    highest = max((efficiency for efficiency, _ in found), default=0)
    return tuple(Core(cpus, efficiency < highest) for efficiency, cpus in found)


def _intel_performance_cpus(root: Path) -> set[int]:
    """Return the CPUs of a hybrid processor's performance cores; none for every other processor."""
    # Beside them are cpu_atom and, for the cores outside the compute tile, cpu_lowpower.
    return set(_numbers(_read(root / "sys/devices/cpu_core/cpus")))


def _cpus_with_capacity(allowed: Collection[int], root: Path) -> set[int]:
    """Return the CPUs of at least LEAST_CAPACITY; all where a CPU tells none."""
    told = {cpu: _read(root / f"sys/devices/system/cpu/cpu{cpu}/cpu_capacity") for cpu in allowed}
    if not all(text.isdecimal() for text in told.values()):
        return set(allowed)
    capacities = {cpu: int(text) for cpu, text in told.items()}
    least = LEAST_CAPACITY * max(capacities.values(), default=0)
    return {cpu for cpu, capacity in capacities.items() if capacity >= least}


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except (OSError, ValueError):  # not there, or not in this form
        return ""


def _numbers(ranges: str) -> Iterator[int]:
    """Read a list of CPUs as Linux writes it: 0-15,18."""
    for part in filter(None, ranges.split(",")):
        first, _, last = part.partition("-")
        if first.isdecimal() and (last or first).isdecimal():
            yield from range(int(first), int(last or first) + 1)


def _parsed_records(records: bytes) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield the efficiency class and the CPUs of each core; a group has 64 CPUs."""
    masks = RECORD.size + RELATIONSHIP.size
    start = 0
    while start + masks <= len(records):
        relationship, size = RECORD.unpack_from(records, start)
        if relationship == RELATION_PROCESSOR_CORE:
            efficiency, n_groups = RELATIONSHIP.unpack_from(records, start + RECORD.size)
            groups = [GROUP.unpack_from(records, start + masks + GROUP.size * number) for number in range(n_groups)]
            yield efficiency, tuple(64 * group + bit for mask, group in groups for bit in range(64) if mask >> bit & 1)
        start += max(size, masks)


def _processor_records() -> bytes:
    """Ask Windows for a record a core; nothing where it refuses."""
    if sys.platform != "win32":
        raise NotImplementedError("Windows alone has GetLogicalProcessorInformationEx")
    import ctypes

    # BOOL GetLogicalProcessorInformationEx(LOGICAL_PROCESSOR_RELATIONSHIP RelationshipType,
    #     PSYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX Buffer, PDWORD ReturnedLength)
    ask = ctypes.WinDLL("kernel32").GetLogicalProcessorInformationEx
    length = ctypes.c_uint32()
    ask(RELATION_PROCESSOR_CORE, None, ctypes.byref(length))
    buffer = ctypes.create_string_buffer(length.value)
    told = ask(RELATION_PROCESSOR_CORE, buffer, ctypes.byref(length))
    return buffer.raw[: length.value] if told else b""


def _sysctl(name: str) -> int | None:
    """Return an int of macOS's kernel; None for a name that it does not know."""
    import ctypes

    # int sysctlbyname(const char *name, void *oldp, size_t *oldlenp, void *newp, size_t newlen)
    ask = ctypes.CDLL(None).sysctlbyname
    value, length = ctypes.c_int32(), ctypes.c_size_t(4)
    failed = ask(name.encode(), ctypes.byref(value), ctypes.byref(length), None, ctypes.c_size_t(0))
    return None if failed else value.value
