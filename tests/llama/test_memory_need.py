"""What a model takes of memory is what llama.cpp allocates, at the true size of GLM-4-9B."""

from __future__ import annotations

import ctypes
import logging
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import llama_cpp
import pytest

from glm_gguf.gguf_file.parts import GgufParts, open_all_parts
from glm_gguf.llama.context import context_parameters
from glm_gguf.llama.cpu_kernels import Cpu
from glm_gguf.llama.engine_options import CacheType, EngineOptions
from glm_gguf.llama.llama_log import route_log
from glm_gguf.llama.load_plan import LoadPlan, Machine
from glm_gguf.llama.memory_need import MemoryNeed, host_cache_size, memory_need
from tests.gguf_file.builder import glm4_9b

OPTIONS = EngineOptions(threads=1, n_ctx=1024, n_gpu_layers=0)
PLAIN = Machine((), 10**12, Cpu(frozenset({"AVX2"}), None))
Q8_0, Q4_0 = CacheType.Q8_0, CacheType.Q4_0


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return glm4_9b(131072).write_hollow(tmp_path_factory.mktemp("need") / "9b.gguf")


@pytest.fixture(scope="module")
def unallocated(large: Path) -> Iterator[llama_cpp.llama_model_p]:
    """llama.cpp's own model of the file; with no_alloc it counts all memory and allocates none."""
    route_log()
    parameters = llama_cpp.llama_model_default_params()
    parameters.n_gpu_layers, parameters.no_alloc, parameters.load_mode = 0, True, 0
    model = llama_cpp.llama_model_load_from_file(os.fsencode(large), parameters)
    yield model
    llama_cpp.llama_model_free(model)


def allocated(model: llama_cpp.llama_model_p, plan: LoadPlan, caplog: pytest.LogCaptureFixture) -> tuple[float, float]:
    """Bytes of the KV cache, and of compute and output buffers, that llama.cpp tells of a context."""
    parameters = context_parameters(plan)
    parameters.abort_callback = ctypes.cast(None, llama_cpp.ggml_abort_callback)
    caplog.set_level(logging.DEBUG)
    caplog.clear()
    llama_cpp.llama_free(llama_cpp.llama_init_from_model(model, parameters))
    cells = re.findall(r"llama_kv_cache: size = +([0-9.]+) MiB", caplog.text)
    buffers = re.findall(r"CPU +(?:compute|output) buffer size = +([0-9.]+) MiB", caplog.text)
    assert (len(cells), len(buffers)) == (1, 2)
    return float(cells[0]) * 2**20, sum(map(float, buffers)) * 2**20


CONTEXTS: dict[str, dict[str, object]] = {
    "as it is opened": {},
    "a long context": {"n_ctx": 131072},
    "large batches": {"n_batch": 512, "n_ctx": 8192},
    "a batch for every sequence": {"n_batch": 32, "n_parallel": 16},
    "many sequences": {"n_batch": 512, "n_ctx": 32768, "n_parallel": 64},
    "q8_0": {"n_batch": 512, "n_ctx": 32768, "cache_type_k": Q8_0, "cache_type_v": Q8_0},
    "keys of q8_0": {"n_batch": 512, "n_ctx": 8192, "cache_type_k": Q8_0},
    "values of q4_0": {"n_batch": 512, "n_ctx": 8192, "cache_type_v": Q4_0},
    "no flash attention": {"n_batch": 512, "n_ctx": 8192, "flash_attention": False},
    "no flash attention, q8_0": {"n_ctx": 32768, "flash_attention": False, "cache_type_k": Q8_0},
}


@pytest.mark.parametrize("case", CONTEXTS)
def test_cells_are_exact_and_buffers_within_3_percent(
    case: str, large: Path, unallocated: llama_cpp.llama_model_p, caplog: pytest.LogCaptureFixture
) -> None:
    options = replace(OPTIONS, **CONTEXTS[case])  # type: ignore[arg-type]
    plan = LoadPlan.estimate(open_all_parts(large), options, PLAIN)
    cells, buffers = allocated(unallocated, plan, caplog)
    assert plan.need.cache == cells
    assert plan.need.compute == pytest.approx(buffers, rel=0.03)


@pytest.fixture(scope="module")
def contents(tiny_gguf: Callable[[str], Path]) -> GgufParts:
    return open_all_parts(tiny_gguf("Q8_0"))


@pytest.fixture(scope="module")
def need(contents: GgufParts) -> MemoryNeed:
    return LoadPlan.estimate(contents, OPTIONS, PLAIN).need


def test_the_need_of_a_context_is_its_cells(contents: GgufParts, need: MemoryNeed) -> None:
    metadata = contents.metadata
    values = int(metadata["glm4.block_count"].value) * int(metadata["glm4.attention.head_count_kv"].value)  # type: ignore[arg-type]
    values *= 2 * int(metadata["glm4.attention.key_length"].value)  # type: ignore[arg-type]
    assert need.cache == 1024 * values * 2
    quantised = replace(OPTIONS, cache_type_k=Q8_0, cache_type_v=Q8_0)
    assert LoadPlan.estimate(contents, quantised, PLAIN).need.cache == 1024 * values * 34 // 32


def test_the_host_cache_is_as_large_as_the_context_or_a_quarter_of_what_is_left(need: MemoryNeed) -> None:
    assert host_cache_size(need, OPTIONS, 1024, None) == 1024
    assert host_cache_size(need, OPTIONS, 1024, 100 * need.cache) == 1024
    assert host_cache_size(need, OPTIONS, 1024, need.cache) == 256
    assert host_cache_size(need, OPTIONS, 1024, -1) == 0
    assert host_cache_size(need, replace(OPTIONS, n_host_cache=7), 1024, 0, by_rows=True) == 7


@pytest.mark.parametrize("page", [4096, 16384, 65536])
def test_the_kernels_tables_have_an_entry_a_page_of_whatever_size(page: int, large: Path) -> None:
    contents = open_all_parts(large)
    plan = LoadPlan.of(contents, OPTIONS, PLAIN)
    needs = [memory_need(contents, OPTIONS, plan.size, plan.batches, size) for size in (page, 2 * page)]
    assert needs[0].process - needs[1].process == pytest.approx(8 * contents.file_size / page / 2, abs=2)
    assert memory_need(contents, OPTIONS, plan.size, plan.batches) == plan.need
