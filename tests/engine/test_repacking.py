"""Weights are repacked where it was asked for or is quicker; llama.cpp tells which buffer it put them in."""

import logging
from collections.abc import Callable
from pathlib import Path

import llama_cpp
import numpy as np
import pytest

from glm_gguf.engine.batch import Batch
from glm_gguf.engine.context import Context
from glm_gguf.engine.model_handle import ModelHandle
from glm_gguf.engine.options import EngineOptions
from glm_gguf.engine.repacking import computes_in_tiles, repacks
from glm_gguf.gguf_file.parts import open_all_parts

SYSTEM = llama_cpp.llama_print_system_info().decode()
PROMPT = list(range(40, 80))


@pytest.mark.skipif("AVX2 = 1" not in SYSTEM, reason="llama.cpp repacks Q4_0 by other rules on this processor")
@pytest.mark.parametrize("repack", [True, False, None])
def test_llama_cpp_repacks_as_decided(
    tiny_gguf: Callable[[str], Path], repack: bool | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    path, options = tiny_gguf("Q4_0"), EngineOptions(threads=1, n_ctx=512, n_gpu_layers=0, repack=repack)
    with ModelHandle(path, options):
        done = "CPU_REPACK model buffer" in caplog.text
    assert done == repacks(open_all_parts(path).tensors, options) == (repack is not False)


@pytest.mark.parametrize("type_", ["Q4_K_S", "Q6_K"])
def test_both_kernels_give_the_same_logits(tiny_gguf: Callable[[str], Path], type_: str) -> None:
    logits = []
    for repack in (True, False):
        options = EngineOptions(threads=1, n_ctx=512, n_gpu_layers=0, repack=repack)
        with ModelHandle(tiny_gguf(type_), options) as model, Context(model, options) as context:
            batch = Batch(len(PROMPT))
            row = batch.add(0, 0, PROMPT, outputs=1)
            assert context.decode(batch)
            logits.append(context.logits(row).copy())
    np.testing.assert_allclose(*logits, atol=0.02 * float(np.abs(logits[0]).max()))


@pytest.mark.skipif("AVX2 = 1" not in SYSTEM, reason="llama.cpp's tiled kernels are for x86")
@pytest.mark.parametrize(
    ("type_", "repack", "expected"),
    [
        ("Q6_K", True, True),
        ("Q6_K", False, True),
        ("Q4_K_S", True, False),
        ("F16", False, False),
        ("Q4_0", None, False),
    ],
)
def test_k_quants_that_are_not_repacked_are_computed_in_tiles(
    tiny_gguf: Callable[[str], Path], type_: str, repack: bool | None, expected: bool
) -> None:
    tensors = open_all_parts(tiny_gguf(type_)).tensors
    assert computes_in_tiles(tensors, EngineOptions(n_gpu_layers=0, repack=repack)) == expected
