"""Whether llama.cpp's kernels for AMX can be run: some compilers leave out the tile configuration that they load."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from types import MappingProxyType
from typing import Final

FIXED: Final = MappingProxyType({11: 5, 12: 4, 13: 3})
"""Major version of GCC → the first minor one whose _tile_loadconfig reads all of a configuration (GCC bug 114098)."""
_COMPILER: Final = re.compile(rb"GCC: \([^)]*\) (\d+)\.(\d+)\.")


def faulty_compiler(libraries: Iterable[Path]) -> str | None:
    """Name the compiler of a library whose AMX kernels end the process by a segmentation fault; None where all is well.

    Compilers leave their names in what they build, in ELF's section .comment. Raises OSError.
    """
    found = {tuple(map(int, name)) for path in libraries for name in _COMPILER.findall(path.read_bytes())}
    faulty = [(major, minor) for major, minor in sorted(found) if minor < FIXED.get(major, 0)]
    return "GCC {}.{}".format(*faulty[0]) if faulty else None
