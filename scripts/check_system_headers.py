#!/usr/bin/env python3
"""Compare the numbers and structures of macOS and Windows in this package with their own headers.

    pip install ziglang    # a C compiler with the headers of both systems
    scripts/check_system_headers.py [--compiler "python3 -m ziglang cc"]

It compiles assertions for both processors of each system, and runs nothing there.
"""

from __future__ import annotations

import argparse
import shlex
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from glm_gguf import core_kinds, darwin_files

HEADERS = {
    "macos": ("fcntl.h", "stddef.h", "sys/sysctl.h"),
    "windows-gnu": ("windows.h", "stddef.h"),
}
PROCESSORS = ("aarch64", "x86_64")
NUMBERS = (
    "F_PREALLOCATE",
    "F_RDADVISE",
    "F_NOCACHE",
    "F_FULLFSYNC",
    "F_BARRIERFSYNC",
    "F_ALLOCATEALL",
    "F_PEOFPOSMODE",
)


def structure(name: str, layout: struct.Struct, *fields: str) -> Iterator[str]:
    """Yield the size of a structure and the offsets of its fields, which the layout holds in this order."""
    yield f"sizeof({name}) == {layout.size}"
    for number, field in enumerate(fields):
        yield f"offsetof({name}, {field}) == {struct.calcsize(layout.format[: 1 + number])}"


def macos() -> Iterator[str]:
    """Yield what <sys/fcntl.h> says, and that sysctlbyname takes what is given to it."""
    yield from (f"{name} == {getattr(darwin_files, name)}" for name in NUMBERS)
    fields = ("fst_flags", "fst_posmode", "fst_offset", "fst_length", "fst_bytesalloc")
    yield from structure("struct fstore", darwin_files.FSTORE, *fields)
    yield from structure("struct radvisory", darwin_files.RADVISORY, "ra_offset", "ra_count")
    kind = "int (*)(const char *, void *, size_t *, void *, size_t)"
    yield f"_Generic(&sysctlbyname, {kind}: 1, default: 0)"


def windows() -> Iterator[str]:
    """Yield what winnt.h says of GetLogicalProcessorInformationEx."""
    yield f"RelationProcessorCore == {core_kinds.RELATION_PROCESSOR_CORE}"
    yield f"offsetof(SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX, Processor) == {core_kinds.RECORD.size}"
    yield "offsetof(SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX, Size) == 4"
    yield f"offsetof(PROCESSOR_RELATIONSHIP, EfficiencyClass) == {struct.calcsize('=x')}"
    yield f"offsetof(PROCESSOR_RELATIONSHIP, GroupCount) == {struct.calcsize('=xB20x')}"
    yield f"offsetof(PROCESSOR_RELATIONSHIP, GroupMask) == {core_kinds.RELATIONSHIP.size}"
    yield f"sizeof(GROUP_AFFINITY) == {core_kinds.GROUP.size}"
    yield f"offsetof(GROUP_AFFINITY, Group) == {struct.calcsize('=Q')}"


def main() -> None:
    """Compile all assertions for all targets; the exit status tells whether they hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--compiler", default=f"{shlex.quote(sys.executable)} -m ziglang cc", help="takes -target")
    compiler = shlex.split(parser.parse_args().compiler)
    for system, claims in {"macos": list(macos()), "windows-gnu": list(windows())}.items():
        lines = [f"#include <{header}>" for header in HEADERS[system]]
        lines += [f'_Static_assert({claim}, "{claim}");' for claim in claims]
        with tempfile.TemporaryDirectory() as directory:
            source = Path(directory) / "claims.c"
            source.write_text("\n".join(lines) + "\n")
            for processor in PROCESSORS:
                target = f"{processor}-{system}"
                command = [*compiler, "-target", target, "-c", str(source), "-o", str(source.with_suffix(".o"))]
                subprocess.run(command, check=True)
                print(f"{target:22} {len(claims)} of {len(claims)} are as its headers say")


if __name__ == "__main__":
    main()
