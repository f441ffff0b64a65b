"""A context that does not fit into memory is refused before llama.cpp tries; the error says what fits."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from glm_gguf.errors import RequestError
from glm_gguf.gguf_file.parts import GgufParts, open_all_parts
from glm_gguf.llama.engine_options import CacheType, EngineOptions
from glm_gguf.llama.load_plan import LoadPlan, Machine
from glm_gguf.llama.memory_need import MemoryNeed, available_memory, host_cache_size, memory_need, require_memory

OPTIONS = EngineOptions(threads=1, n_ctx=1024)


@pytest.fixture(scope="module")
def contents(tiny_gguf: Callable[[str], Path]) -> GgufParts:
    return open_all_parts(tiny_gguf("Q8_0"))


@pytest.fixture(scope="module")
def need(contents: GgufParts) -> MemoryNeed:
    return memory_need(contents, OPTIONS, 1024)


def test_the_need_of_a_context_is_its_cells(contents: GgufParts, need: MemoryNeed) -> None:
    metadata = contents.metadata
    values = int(metadata["glm4.block_count"].value) * int(metadata["glm4.attention.head_count_kv"].value)  # type: ignore[arg-type]
    values *= 2 * int(metadata["glm4.attention.key_length"].value)  # type: ignore[arg-type]
    assert need.cache == 1024 * values * 2
    quantised = replace(OPTIONS, cache_type_k=CacheType.Q8_0, cache_type_v=CacheType.Q8_0)
    assert memory_need(contents, quantised, 1024).cache == 1024 * values * 34 // 32


def test_a_context_that_is_too_large_says_what_fits(contents: GgufParts, need: MemoryNeed) -> None:
    available = int(need.weights * 1.05) + 600 * need.cell
    with pytest.raises(RequestError, match="up to 512 tokens fit"):
        require_memory(need, OPTIONS, available)
    require_memory(memory_need(contents, OPTIONS, 512), OPTIONS, available)


def test_mapped_weights_may_be_larger_than_memory_but_copied_ones_not(need: MemoryNeed) -> None:
    require_memory(need, OPTIONS, need.cache + 1)
    with pytest.raises(RequestError, match="smaller quantisation"):
        require_memory(need, replace(OPTIONS, mmap=False), need.cache + 1)
    with pytest.raises(RequestError, match="smaller quantisation"):
        require_memory(need, replace(OPTIONS, repack=True), need.cache + 1)


def test_nothing_is_refused_where_the_free_memory_is_unknown(need: MemoryNeed) -> None:
    require_memory(need, OPTIONS, None)
    assert (available_memory() or 1) > 0


def test_the_host_cache_is_as_large_as_the_context_or_a_quarter_of_the_free_memory(need: MemoryNeed) -> None:
    assert host_cache_size(need, OPTIONS, 1024, None) == 1024
    assert host_cache_size(need, OPTIONS, 1024, 100 * need.cache) == 1024
    assert host_cache_size(need, OPTIONS, 1024, 2 * need.cache) == 256
    assert host_cache_size(need, OPTIONS, 1024, need.cache // 2) == 0
    assert host_cache_size(need, replace(OPTIONS, n_host_cache=7), 1024, 0) == 7


def test_copied_weights_leave_less_to_the_host_cache(contents: GgufParts, need: MemoryNeed) -> None:
    machine = replace(Machine.here(OPTIONS), gpus=(), memory=int(1.05 * need.weights) + 2 * need.cache)
    mapped = LoadPlan.of(contents, replace(OPTIONS, repack=False), machine)
    copied = LoadPlan.of(contents, replace(OPTIONS, repack=False, mmap=False), machine)
    assert mapped.n_host_cache > copied.n_host_cache >= 256
