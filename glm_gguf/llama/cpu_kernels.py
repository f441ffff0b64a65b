"""Which of llama.cpp's CPU kernels compute a file's weights, and the memory that they compute them from.

Three decisions depend on the processor and on the compiler of llama.cpp: whether AMX can be used, whether weights are
repacked, and whether a batch is computed in tiles. Copies of weights lie in huge pages where Linux allows it.
"""

from __future__ import annotations

import ctypes
import logging
import mmap
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final, Self

from glm_gguf.errors import EngineError
from glm_gguf.gguf_file.tensor_list import TensorInfo
from glm_gguf.llama.library import llama_cpp

LOGGER = logging.getLogger(__name__)
_LOCK: Final = threading.Lock()
FIXED: Final = MappingProxyType({11: 5, 12: 4, 13: 3})
"""Major version of GCC → the first minor one whose _tile_loadconfig reads all of a configuration (GCC bug 114098)."""
_COMPILER: Final = re.compile(rb"GCC: \([^)]*\) (\d+)\.(\d+)\.")
NEWER_THAN_AVX2: Final = frozenset(
    {"AVX512", "AVX_VNNI"}
)  # there, repacking makes the decode of one sequence 1.2 times as fast
EMBEDDING: Final = "token_embd.weight"  # llama.cpp looks up rows of it, and multiplies by none
# llama.cpp's repack.cpp and tiled.cpp, for x86
QUICKER_REPACKED: Final = frozenset({"q4_0", "iq4_nl"})
TILED: Final = frozenset(
    {
        *("q2_K", "q3_K", "q4_K", "q5_K", "q6_K", "iq4_xs"),
        *("iq1_s", "iq1_m", "iq2_xxs", "iq2_xs", "iq2_s", "iq3_xxs", "iq3_s"),
    }
)
MAPS: Final = Path("/proc/self/maps")  # of Linux alone
LARGE: Final = 32 * 1024**2
"""Bytes from which malloc maps memory that is for nothing else: DEFAULT_MMAP_THRESHOLD_MAX of glibc."""
Range = tuple[int, int]
"""First address of a mapping, and the one after its last."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """A processor, as llama.cpp was built to use it."""

    features: frozenset[str]
    """Names as llama.cpp tells them: AVX2, AVX512, AMX_INT8."""
    amx_fault: str | None
    """The compiler whose AMX kernels crash; None where there is no AMX, or no fault."""

    @classmethod
    def here(cls) -> Self:
        """Ask llama.cpp about this processor; OSError where its libraries cannot be read."""
        return cls(cpu_features(), faulty_amx_compiler())


@cache
def cpu_features() -> frozenset[str]:
    """Name the features as llama.cpp tells them: "CPU : SSE3 = 1 | AVX2 = 1 | ..."."""
    # const char * llama_print_system_info(void): it writes into one string of the process, one thread at a time
    with _LOCK:
        told = llama_cpp.llama_print_system_info().decode()
    parts = told.replace(":", "|").split("|")
    return frozenset(name.strip() for name, _, value in (part.partition("=") for part in parts) if value.strip() == "1")


@cache
def faulty_amx_compiler() -> str | None:
    """Name the compiler whose kernels for AMX crash in this llama.cpp; None where there is no AMX, or no fault.

    Raises OSError where llama.cpp's libraries cannot be read.
    """
    if "AMX_INT8" not in cpu_features():
        return None
    return faulty_compiler(Path(llama_cpp.llama_cpp._lib._name).parent.glob("lib*.so"))


def faulty_compiler(libraries: Iterable[Path]) -> str | None:
    """Name the compiler of a library whose AMX kernels end the process by a segmentation fault; None without a fault.

    Such a compiler leaves out the tile configuration that the kernels load. Compilers leave their names in what they
    build, in ELF's section .comment. Raises OSError.
    """
    found = {tuple(map(int, name)) for path in libraries for name in _COMPILER.findall(path.read_bytes())}
    faulty = [(major, minor) for major, minor in sorted(found) if minor < FIXED.get(major, 0)]
    return "GCC {}.{}".format(*faulty[0]) if faulty else None


def repacks(tensors: Sequence[TensorInfo], asked: bool | None, cpu: Cpu, *, on_gpu: bool, copies_fit: bool) -> bool:
    """Decide whether llama.cpp repacks weights while it loads them; EngineError where that was asked for and crashes.

    With AVX2 and nothing newer, K-quants are computed faster as they lie in the file, where they stay mapped. Elsewhere
    llama.cpp's own choice holds, if the copies fit into memory.
    """
    if cpu.amx_fault is not None:
        if asked:
            fix = "build llama-cpp-python with a later one, or leave the choice to glm-gguf"
            raise EngineError(f"llama.cpp's AMX kernels crash as {cpu.amx_fault} built them", field="repack", fix=fix)
        LOGGER.info(
            "%s built llama.cpp, so AMX is not used; a later compiler makes prefill 1.3 times as fast", cpu.amx_fault
        )
        return False
    if asked is not None:
        return asked
    if on_gpu:
        return True
    if not copies_fit:
        return False
    if "AVX2" not in cpu.features or cpu.features & NEWER_THAN_AVX2:
        return True
    return any(tensor.type.name in QUICKER_REPACKED for tensor in tensors)


def computes_in_tiles(tensors: Sequence[TensorInfo], cpu: Cpu, *, on_gpu: bool, repacked: bool) -> bool:
    """Tell whether most weights meet a CPU kernel that takes as long for 8 rows of a batch as for 16."""
    if "AVX2" not in cpu.features or "AVX512" in cpu.features or on_gpu:
        return False
    tiled = TILED - {"q4_K"} if repacked else TILED
    matrices = [tensor for tensor in tensors if len(tensor.shape) > 1 and tensor.name != EMBEDDING]
    share = sum(tensor.n_elements for tensor in matrices if tensor.type.name in tiled)
    return 2 * share > sum(tensor.n_elements for tensor in matrices)


def own_memory() -> frozenset[Range]:
    """Return the large writable mappings of this process without a file behind them; none where nothing tells."""
    try:
        maps = MAPS.read_text("utf-8", "surrogateescape")  # names of files are bytes
    except OSError:  # another system, or no file may be opened any more
        return frozenset()
    # address perms offset dev inode pathname, of proc_pid_maps(5)
    fields = [line.split() for line in maps.splitlines()]
    bounds = [entry[0].split("-") for entry in fields if entry[1:] == ["rw-p", "00000000", "00:00", "0"]]
    ranges = [(int(start, 16), int(stop, 16)) for start, stop in bounds]
    return frozenset((start, stop) for start, stop in ranges if stop - start >= LARGE)


def advise_huge_pages(before: frozenset[Range]) -> int:
    """Ask for huge pages in all memory mapped since, best before it is filled; returns the advised bytes.

    The kernel need not follow, and nothing depends on it. Mappings of other threads are advised as well; the kernel
    refuses memory that they gave back. Decode gets some 2 % faster.
    """
    mapped = own_memory() - before
    if not mapped or not hasattr(mmap, "MADV_HUGEPAGE"):
        return 0
    # int madvise(void addr[.length], size_t length, int advice)
    madvise: Callable[..., int] = ctypes.CDLL(None).madvise
    advised = 0
    for start, stop in mapped:
        length = stop - start
        if madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), mmap.MADV_HUGEPAGE) == 0:
            advised += length
    return advised
