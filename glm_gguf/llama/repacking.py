"""Which of llama.cpp's CPU kernels compute a file's weights: those for repacked ones, or those that take tiles."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

import llama_cpp

from glm_gguf.errors import EngineError
from glm_gguf.gguf_file.parts import GgufParts
from glm_gguf.gguf_file.tensors import TensorInfo
from glm_gguf.llama.amx import faulty_compiler
from glm_gguf.llama.cpu_features import cpu_features
from glm_gguf.llama.devices import chosen_gpus
from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.llama.memory import memory_need

LOGGER = logging.getLogger(__name__)
NEWER_THAN_AVX2: Final = frozenset({"AVX512", "AVX_VNNI"})  # there, one answer is written 1.2 times as fast repacked
EMBEDDING: Final = "token_embd.weight"  # rows are looked up in it, nothing is multiplied
# llama.cpp's repack.cpp and tiled.cpp, for x86
QUICKER_REPACKED: Final = frozenset({"q4_0", "iq4_nl"})
TILED: Final = frozenset(
    {
        *("q2_K", "q3_K", "q4_K", "q5_K", "q6_K", "iq4_xs"),
        *("iq1_s", "iq1_m", "iq2_xxs", "iq2_xs", "iq2_s", "iq3_xxs", "iq3_s"),
    }
)


@cache
def faulty_amx_compiler() -> str | None:
    """Name the compiler whose kernels for AMX crash in this llama.cpp; None where all is well, or there is no AMX.

    Raises OSError where llama.cpp's libraries cannot be read.
    """
    if "AMX_INT8" not in cpu_features():
        return None
    return faulty_compiler(Path(llama_cpp.llama_cpp._lib._name).parent.glob("lib*.so"))


def repacks(contents: GgufParts, options: EngineOptions, available: int | None) -> bool:
    """Tell whether llama.cpp is to repack weights as it loads them; EngineError where that was asked for and crashes.

    With AVX2 and nothing newer, K-quants are computed faster as they lie in the file, where they stay mapped. Elsewhere
    llama.cpp's own choice holds, if the copies fit into the `available` bytes of memory.
    """
    compiler = faulty_amx_compiler()
    if compiler is not None:
        if options.repack:
            fix = "build llama-cpp-python with a later one, or leave the choice to glm-gguf"
            raise EngineError(f"llama.cpp's AMX kernels crash as {compiler} built them", where="repack", fix=fix)
        LOGGER.info(
            "%s built llama.cpp, so AMX is not used; with a later one prompts are read 1.3 times as fast", compiler
        )
        return False
    if options.repack is not None:
        return options.repack
    if chosen_gpus(options):
        return True
    if options.mmap and available is not None and memory_need(contents, options).loaded > available:
        return False
    if "AVX2" not in cpu_features() or cpu_features() & NEWER_THAN_AVX2:
        return True
    return any(tensor.type.name in QUICKER_REPACKED for tensor in contents.tensors)


def computes_in_tiles(tensors: Sequence[TensorInfo], options: EngineOptions, *, repacked: bool) -> bool:
    """Tell whether most weights meet a CPU kernel that takes as long for 8 rows of a batch as for 16."""
    if "AVX2" not in cpu_features() or "AVX512" in cpu_features() or chosen_gpus(options):
        return False
    tiled = TILED - {"q4_K"} if repacked else TILED
    matrices = [tensor for tensor in tensors if len(tensor.shape) > 1 and tensor.name != EMBEDDING]
    share = sum(tensor.n_elements for tensor in matrices if tensor.type.name in tiled)
    return 2 * share > sum(tensor.n_elements for tensor in matrices)
