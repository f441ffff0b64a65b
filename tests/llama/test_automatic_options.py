"""What is left open is decided by what memory holds, at the true size of GLM-4-9B; what is asked for is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from glm_gguf.errors import RequestError
from glm_gguf.gguf_file.parts import GgufParts, open_all_parts
from glm_gguf.llama.cpu_kernels import Cpu
from glm_gguf.llama.devices import Device
from glm_gguf.llama.engine_options import CacheType, EngineOptions
from glm_gguf.llama.load_plan import LoadPlan, Machine
from tests.gguf_file.builder import glm4_9b

MB = 10**6
F16, Q8_0 = CacheType.F16, CacheType.Q8_0
OPTIONS = EngineOptions(threads=2)
PLAIN = Machine((), 10**12, Cpu(frozenset({"AVX2", "AVX512"}), None))


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> GgufParts:
    return open_all_parts(glm4_9b().write_hollow(tmp_path_factory.mktemp("open") / "9b.gguf"))


def with_memory(contents: GgufParts, beside: int, **given: object) -> LoadPlan:
    """Plan for a machine with so many MB of memory beside the weights."""
    options = replace(OPTIONS, **given)  # type: ignore[arg-type]
    return LoadPlan.of(contents, options, replace(PLAIN, memory=contents.file_size + beside * MB))


@pytest.mark.parametrize(
    ("beside", "least", "most", "kind", "batch"),
    [
        (4000, 32768, 32768, F16, 512),
        (1660, 32768, 32768, F16, 128),
        (1000, 12000, 20000, F16, 128),
        (560, 8192, 16000, Q8_0, 128),
        (340, 1024, 8191, Q8_0, 128),
    ],
    ids=["plenty", "a small batch", "a shorter context", "smaller cells", "no room for the usual context"],
)
def test_less_memory_takes_a_small_batch_then_a_shorter_context_then_smaller_cells(
    beside: int, least: int, most: int, kind: CacheType, batch: int, contents: GgufParts
) -> None:
    plan = with_memory(contents, beside)
    assert least <= plan.size.n_ctx <= most
    assert plan.options.cache_types == (kind, kind)
    assert plan.batches.alone == batch
    assert plan.fits
    assert plan.asked == OPTIONS
    if plan.size.n_ctx < plan.size.n_known:  # the next step would not fit
        longer = replace(plan.options, n_ctx=plan.size.n_ctx + 256)
        assert not LoadPlan.estimate(contents, longer, replace(PLAIN, memory=plan.memory)).fits


def test_a_tenth_is_left_to_other_programs_only_where_the_size_is_ours_to_choose(contents: GgufParts) -> None:
    machine = replace(PLAIN, memory=contents.file_size + 1000 * MB, for_others=300 * MB)
    chosen = LoadPlan.of(contents, OPTIONS, machine)
    assert chosen.main_memory + 300 * MB <= (machine.memory or 0)
    assert LoadPlan.of(contents, replace(OPTIONS, n_ctx=chosen.size.n_ctx + 4096), machine).fits


def test_weights_that_memory_does_not_hold_are_read_again_and_again(
    contents: GgufParts, caplog: pytest.LogCaptureFixture
) -> None:
    plan = with_memory(contents, -contents.file_size // MB + 2000)
    assert (plan.fits, plan.fits_streamed, plan.repack) == (False, True, False)
    assert plan.main_memory - plan.need.weights <= 2000 * MB
    assert "reading them again and again is slow" in caplog.text


def nearest(told: str | None) -> int:
    """The number of tokens that an error advises."""
    assert told is not None
    return int(next(word for word in told.split() if word.isdecimal()))


@pytest.mark.parametrize("given", [{}, {"cache_type_k": F16, "cache_type_v": F16}], ids=["open types", "f16"])
def test_a_context_that_does_not_fit_is_refused_with_the_longest_that_does(
    given: dict[str, object], contents: GgufParts
) -> None:
    with pytest.raises(RequestError) as caught:
        with_memory(contents, 800, n_ctx=65536, **given)
    assert caught.value.field == "n_ctx"
    fix = caught.value.fix or ""
    assert ("q8_0 as cache type fits more" in fix) is bool(given)
    plan = with_memory(contents, 800, n_ctx=nearest(fix), **given)
    assert plan.fits
    with pytest.raises(RequestError):
        with_memory(contents, 800, n_ctx=nearest(fix) + 256, **given)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"mlock": True}, "mlock"),
        ({"mmap": False}, "mmap"),
        ({"repack": True}, "repack"),
        ({"n_host_cache": 10**6}, "n_host_cache"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_named_and_without_it_the_model_opens(
    given: dict[str, object], field: str, contents: GgufParts
) -> None:
    given = dict(given)
    beside = -contents.file_size // MB + 2200
    with pytest.raises(RequestError) as caught:
        with_memory(contents, beside, **given)
    assert caught.value.field == field
    del given[field]
    assert with_memory(contents, beside, **given).fits_streamed


def test_where_nothing_fits_a_smaller_file_is_advised(contents: GgufParts) -> None:
    with pytest.raises(RequestError, match="smaller quantisation"):
        with_memory(contents, -contents.file_size // MB + 300)


def test_a_gpu_that_holds_all_layers_decides_the_context(contents: GgufParts) -> None:
    gpu = Device("CUDA0", "a GPU", "0000:01", integrated=False, pointer=1, memory=contents.file_size + 1700 * MB)
    plan = LoadPlan.of(contents, OPTIONS, replace(PLAIN, gpus=(gpu,)))
    assert plan.offload.n_on_gpus == plan.offload.n_layers
    assert 8192 <= plan.size.n_ctx < 32768
    small = replace(gpu, memory=6000 * MB)
    plan = LoadPlan.of(contents, OPTIONS, replace(PLAIN, gpus=(small,)))
    assert 0 < plan.offload.n_on_gpus < plan.offload.n_layers
    assert plan.size.n_ctx == 8192


def test_the_tiny_model_is_opened_with_its_own_length(tiny_gguf: Callable[[str], Path]) -> None:
    contents = open_all_parts(tiny_gguf("Q8_0"))
    assert LoadPlan.of(contents, OPTIONS, PLAIN).size.n_ctx == 4096


def test_layers_that_a_gpu_has_no_room_for_are_refused_with_those_that_it_has(contents: GgufParts) -> None:
    gpu = Device("CUDA0", "a GPU", "0000:01", integrated=False, pointer=1, memory=6000 * MB)
    machine = replace(PLAIN, gpus=(gpu,))
    for asked in (-1, 30):
        with pytest.raises(RequestError) as caught:
            LoadPlan.of(contents, replace(OPTIONS, n_gpu_layers=asked, n_ctx=8192), machine)
        assert caught.value.field == "n_gpu_layers"
    most = nearest(caught.value.fix)
    plan = LoadPlan.of(contents, replace(OPTIONS, n_gpu_layers=most, n_ctx=8192), machine)
    assert plan.offload.n_on_gpus == most
    with pytest.raises(RequestError):
        LoadPlan.of(contents, replace(OPTIONS, n_gpu_layers=most + 1, n_ctx=8192), machine)
