"""The hardware and the limits of the system: processor, cores, memory, huge pages, disk."""

from __future__ import annotations

import platform
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Final

from glm_gguf.cpus import Cores
from glm_gguf.doctor.section import Fact, Section
from glm_gguf.gguf_file.finding import Finding, advice

resource: ModuleType | None
try:
    import resource
except ImportError:  # Windows
    resource = None

ROOT: Final = Path("/")
INSTRUCTIONS: Final = (
    *("ssse3", "avx", "f16c", "fma", "bmi2", "avx2", "avx_vnni", "avx512f", "avx512vbmi", "avx512_vnni"),
    *("avx512_bf16", "amx_tile", "amx_int8", "amx_bf16", "asimd", "asimddp", "i8mm", "sve", "sve2", "sme"),
)
"""Flags of /proc/cpuinfo, x86 and ARM, that kernels ask for."""
LITTLE_DISK: Final = 10 * 10**9
"""A file of 9B takes some 6 GB as Q4_K_M."""
NO_LIMIT: Final = "none"
COMPILERS: Final = ("c++", "g++", "clang++", "cl")


def machine(root: Path = ROOT) -> Section:
    """Look at this machine."""
    info = _text(root / "proc/cpuinfo")
    here, temporary = shutil.disk_usage("."), shutil.disk_usage(tempfile.gettempdir())
    huge_pages = _chosen(_text(root / "sys/kernel/mm/transparent_hugepage/enabled"))
    limits = _limits()
    facts: dict[str, Fact] = {
        "processor": _value(info, "model name") or platform.processor() or None,
        "instruction_sets": instruction_sets(root),
        "cores": str(Cores.here()),
        **_memory(),
        **limits,
        "transparent_huge_pages": huge_pages,
        "free_here_bytes": here.free,
        "free_for_temporary_files_bytes": temporary.free,
        "compiler": compiler() or "none",
        "gpu_drivers": gpu_drivers(root),
    }
    return Section("machine", facts, tuple(_findings(huge_pages, here.free, limits)))


def compiler() -> str | None:
    """Name the first C++ compiler on the path, by which pip builds llama.cpp; None without one."""
    return next((name for name in COMPILERS if shutil.which(name)), None)


def instruction_sets(root: Path = ROOT) -> list[str] | None:
    """List the flags of the processor that kernels ask for; None where the system lists none."""
    listed = _value(_text(root / "proc/cpuinfo"), "flags") or _value(_text(root / "proc/cpuinfo"), "Features")
    flags = set((listed or "").split())
    return [name for name in INSTRUCTIONS if name in flags] if listed else None


def gpu_drivers(root: Path = ROOT) -> list[str]:
    """Name the makers of GPUs whose drivers are loaded."""
    found = {"NVIDIA": root / "proc/driver/nvidia/version", "AMD": root / "dev/kfd"}
    makers = [maker for maker, path in found.items() if path.exists()]
    return [*makers, *(["Apple"] if platform.system() == "Darwin" and platform.machine() == "arm64" else [])]


def _findings(huge_pages: str | None, free: int, limits: Mapping[str, Fact]) -> list[Finding]:
    found = []
    if limits.get("limit_of_address_space_bytes", NO_LIMIT) != NO_LIMIT:
        why = "whole models are mapped into it"
        found.append(advice("the address space of a process is limited here", why, "ulimit -v unlimited"))
    if huge_pages == "never":
        why = "copied weights lie in small pages, which makes decode some 2 % slower"
        mend = "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled"
        found.append(advice("transparent huge pages are off", why, mend))
    if free < LITTLE_DISK:
        why = "a model of 9B takes 6 GB and more"
        found.append(advice(f"{free / 1e9:.1f} GB are free in this directory", why, "free some space: df -h ."))
    return found


def _memory() -> dict[str, Fact]:
    try:
        from glm_gguf.llama.free_memory import available_memory, total_memory
    except ImportError:  # psutil is missing, which the packages tell
        return {"memory_bytes": None, "free_memory_bytes": None}
    return {"memory_bytes": total_memory(), "free_memory_bytes": available_memory()}


def _limits() -> dict[str, Fact]:
    """Return the limits of this process that are set: open files, locked memory, address space."""
    if resource is None:
        return {}
    asked = {"open_files": "RLIMIT_NOFILE", "locked_memory_bytes": "RLIMIT_MEMLOCK", "address_space_bytes": "RLIMIT_AS"}
    soft = {name: resource.getrlimit(getattr(resource, limit))[0] for name, limit in asked.items()}
    return {f"limit_of_{name}": NO_LIMIT if value == resource.RLIM_INFINITY else value for name, value in soft.items()}


def _chosen(text: str) -> str | None:
    """Return the word in brackets."""
    found = re.search(r"\[(\w+)\]", text)
    return found[1] if found else None


def _value(info: str, name: str) -> str | None:
    """Return the first value of a name in /proc/cpuinfo."""
    found = re.search(rf"(?m)^{name}\s*:\s*(.*)$", info)
    return found[1].strip() if found else None


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:  # another system
        return ""
