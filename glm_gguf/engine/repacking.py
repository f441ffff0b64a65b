"""Which of llama.cpp's CPU kernels compute a file's weights: those for repacked ones, or those that take tiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import llama_cpp

from glm_gguf.engine.devices import chosen_gpus
from glm_gguf.engine.options import EngineOptions
from glm_gguf.gguf_file.tensors import TensorInfo

EMBEDDING: Final = "token_embd.weight"  # rows are looked up in it, nothing is multiplied
# llama.cpp's repack.cpp and tiled.cpp, for x86
QUICKER_REPACKED: Final = frozenset({"q4_0", "iq4_nl"})
TILED: Final = frozenset(
    {
        *("q2_K", "q3_K", "q4_K", "q5_K", "q6_K", "iq4_xs"),
        *("iq1_s", "iq1_m", "iq2_xxs", "iq2_xs", "iq2_s", "iq3_xxs", "iq3_s"),
    }
)


def repacks(tensors: Sequence[TensorInfo], options: EngineOptions) -> bool:
    """Tell whether llama.cpp is to repack weights as it loads them, where nobody decided.

    With AVX2 and no more, K-quants are computed faster as they lie in the file, where they stay mapped. Where it was
    not measured, llama.cpp's own choice holds.
    """
    if options.repack is not None:
        return options.repack
    features = _features()
    if "AVX2" not in features or "AVX512" in features or chosen_gpus(options):
        return True
    return any(tensor.type.name in QUICKER_REPACKED for tensor in tensors)


def computes_in_tiles(tensors: Sequence[TensorInfo], options: EngineOptions) -> bool:
    """Tell whether most weights meet a CPU kernel that takes 16 rows of a batch at once, though it has but 8."""
    if "AVX2" not in _features() or chosen_gpus(options):
        return False
    tiled = TILED - {"q4_K"} if repacks(tensors, options) else TILED
    matrices = [tensor for tensor in tensors if len(tensor.shape) > 1 and tensor.name != EMBEDDING]
    share = sum(tensor.n_elements for tensor in matrices if tensor.type.name in tiled)
    return 2 * share > sum(tensor.n_elements for tensor in matrices)


def _features() -> frozenset[str]:
    """Name what llama.cpp was built to use of the processor, as it tells: "CPU : SSE3 = 1 | AVX2 = 1 | ..."."""
    # const char * llama_print_system_info(void)
    parts = llama_cpp.llama_print_system_info().decode().replace(":", "|").split("|")
    return frozenset(name.strip() for name, _, value in (part.partition("=") for part in parts) if value.strip() == "1")
