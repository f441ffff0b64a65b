"""Processors as their systems describe them, and trees of /sys that say the same."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from glm_gguf.core_kinds import Core, linux_cores

Files = Mapping[str, str]


@dataclass(frozen=True)
class Topology:
    """A machine with Linux: threads a core in the order of its CPUs, and what tells slow cores from fast ones."""

    threads: Sequence[int]
    n_fast: int
    kinds: Files = field(default_factory=dict)
    """PMU → CPUs, as below /sys/devices."""
    capacities: Sequence[int] = ()

    @property
    def n_cpus(self) -> int:
        return sum(self.threads)

    @property
    def n_cores(self) -> int:
        return len(self.threads)

    def write(self, root: Path) -> Path:
        """Write the tree below `root`."""
        files = {f"sys/devices/{name}/cpus": f"{cpus}\n" for name, cpus in self.kinds.items()}
        first = 0
        for threads in self.threads:
            last = first + threads - 1
            for cpu in range(first, last + 1):
                siblings = f"{first}-{last}" if threads > 1 else str(cpu)
                files[f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"] = f"{siblings}\n"
            first += threads
        for cpu, capacity in enumerate(self.capacities):
            files[f"sys/devices/system/cpu/cpu{cpu}/cpu_capacity"] = f"{capacity}\n"
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return root


LINUX = {
    # Intel's product pages: 8 cores of 2 threads and 8 (12900K) or 16 (14900K) of one, numbered in that order
    "i9-12900K": Topology([2] * 8 + [1] * 8, 8, {"cpu_core": "0-15", "cpu_atom": "16-23"}),
    "i9-14900K": Topology([2] * 8 + [1] * 16, 8, {"cpu_core": "0-15", "cpu_atom": "16-31"}),
    # hwloc's tests/hwloc/linux/20em64t-hybrid-1p6c2t+2ca4co1t
    "i7-1370P": Topology([2] * 6 + [1] * 8, 6, {"cpu_core": "0-11", "cpu_atom": "12-19"}),
    # libcpuid's issue 198: mask 0xfff of the performance cores; the low-power cores are the last of cpu_atom
    "Core Ultra 7 155H": Topology([2] * 6 + [1] * 10, 6, {"cpu_core": "0-11", "cpu_atom": "12-21"}),
    # tests/data/arl-h-1 of Intel's pepc: the low-power cores have a PMU of their own
    "Core Ultra, Arrow Lake-H": Topology([1] * 14, 4, {"cpu_core": "0-3", "cpu_atom": "4-11", "cpu_lowpower": "12-13"}),
    # Qais Yousef on the kernel's mailing list, 2024: cpu_capacity of a Mac mini with M1, kernel 6.8
    "M1, Linux": Topology([1] * 8, 4, capacities=[459] * 4 + [1024] * 4),
    # capacity-dmips-mhz 530 and 1024 of rk3588-base.dtsi times 1800 and 2304 MHz
    "RK3588": Topology([1] * 8, 4, capacities=[414] * 4 + [1024] * 4),
    # one kind of core; ACPI's capacities follow the highest clocks, 4.2 GHz of two cores and 3.8 of the others
    "Snapdragon X Elite, Linux": Topology([1] * 12, 12, capacities=[926] * 10 + [1024] * 2),
    "Raspberry Pi 5": Topology([1] * 4, 4, capacities=[1024] * 4),
    "Graviton3": Topology([1] * 64, 64, capacities=[1024] * 64),
    "EPYC, two threads a core": Topology([2] * 32, 32),
}
"""Recorded topologies of Linux. Capacities: drivers/base/arch_topology.c scales them to 1024 for the fastest core."""


def linux_tree_cores(name: str, root: Path) -> tuple[Core, ...]:
    """The cores that are found in a tree of LINUX[name], written below `root`."""
    return linux_cores(range(LINUX[name].n_cpus), LINUX[name].write(root))


MAC = {
    # Apple's technical specifications; hw.perflevel0 is the fastest level
    "M1": {
        "hw.nperflevels": 2,
        **{f"hw.perflevel{n}.{name}cpu": 4 for n in (0, 1) for name in ("physical", "logical")},
    },
    "M3 Pro": {
        "hw.nperflevels": 2,
        **{"hw.perflevel0.physicalcpu": 5, "hw.perflevel0.logicalcpu": 5},
        **{"hw.perflevel1.physicalcpu": 6, "hw.perflevel1.logicalcpu": 6},
    },
    "Intel Core i9": {"hw.physicalcpu": 8, "hw.logicalcpu": 16},
}
"""Values of sysctl; other names are unknown there."""


def windows_record(efficiency: int, mask: int, group: int = 0) -> bytes:
    """A core's SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX of 64-bit Windows, 48 bytes (winnt.h)."""
    several_threads = mask.bit_count() > 1  # LTP_PC_SMT
    groups = struct.pack("<QH6x", mask, group)
    return struct.pack("<IIBB20xH", 0, 32 + len(groups), several_threads, efficiency, 1) + groups


WINDOWS = {
    # psutil's issue 2034: efficiency class 1 with two threads, and class 0 with one
    "i9-12900K": [(1, 0b11 << 2 * core, 0) for core in range(8)] + [(0, 1 << 16 + core, 0) for core in range(8)],
    "Core Ultra 7 155H": [
        *((2, 0b11 << 2 * core, 0) for core in range(6)),
        *((1, 1 << 12 + core, 0) for core in range(8)),
        *((0, 1 << 20 + core, 0) for core in range(2)),
    ],
    "Snapdragon X Elite": [(0, 1 << core, 0) for core in range(12)],
    "two groups": [(0, 0b11 << 2 * core, group) for group in (0, 1) for core in range(32)],
}
"""Efficiency class, mask of CPUs and group of each core."""
