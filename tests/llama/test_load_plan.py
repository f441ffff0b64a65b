"""A load plan follows file, machine and options; llama.cpp agrees with its estimates."""

import logging
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from loading import context_of, planned

from glm_gguf.gguf_file.parts import GgufParts, open_all_parts
from glm_gguf.llama.cpu_kernels import Cpu
from glm_gguf.llama.devices import Device
from glm_gguf.llama.engine_options import CacheType, EngineOptions
from glm_gguf.llama.load_plan import LoadPlan, Machine
from glm_gguf.llama.model_handle import ModelHandle

OPTIONS = EngineOptions(threads=2, n_ctx=1024, n_gpu_layers=0)
PLAIN = Machine((), 10**10, Cpu(frozenset({"AVX2"}), None))
GPU = Device("CUDA0", "a GPU", "0000:01", integrated=False, pointer=1, memory=2**31)


@pytest.fixture(scope="module")
def contents(tiny_gguf: Callable[[str], Path]) -> GgufParts:
    return open_all_parts(tiny_gguf("Q4_K_S"))


def test_a_plan_follows_the_machine_that_it_is_given(contents: GgufParts) -> None:
    options = replace(OPTIONS, n_gpu_layers="auto")
    avx512 = replace(PLAIN, cpu=Cpu(frozenset({"AVX2", "AVX512"}), None))
    faulty = replace(PLAIN, cpu=Cpu(frozenset({"AVX2", "AVX512", "AMX_INT8"}), "GCC 12.2"))
    machines = (PLAIN, avx512, faulty, replace(PLAIN, gpus=(GPU,)))
    plans = [LoadPlan.of(contents, options, machine) for machine in machines]
    sizes = [(plan.batches.alone, plan.batches.shared) for plan in plans]
    assert sizes == [(128, 128), (512, 128), (512, 128), (512, 512)]
    assert [plan.repack for plan in plans] == [False, True, False, True]
    assert [plan.in_tiles for plan in plans] == [True, False, False, False]
    layers = plans[-1].offload.n_layers
    assert [plan.offload.n_on_gpus for plan in plans] == [0, 0, 0, layers]
    assert all(plan.asked is options for plan in plans)


def test_a_plan_is_written_for_people(contents: GgufParts) -> None:
    plan = LoadPlan.of(contents, replace(OPTIONS, n_chunk=300, cache_type_k=CacheType.Q8_0), PLAIN)
    told = str(plan)
    assert told.splitlines() == list(plan.lines())
    assert f"KV cache         {plan.need.cache / 1e6:.1f} MB for 1,024 tokens, keys q8_0, values f16" in told
    assert f"layers           0 of {plan.offload.n_layers} on a GPU" in told
    assert "threads          2 for decode, 2 for prefill" in told
    assert "n_batch          128 tokens for one request, 128 for several, 128 prompt tokens beside answers" in told
    gpu = LoadPlan.of(contents, replace(OPTIONS, n_gpu_layers=-1), replace(PLAIN, gpus=(GPU,)))
    assert f"layers           {gpu.offload.n_layers} of {gpu.offload.n_layers} on a GPU: CUDA0 (a GPU)" in str(gpu)


def test_workers_that_send_values_by_rows_offload_no_prefix_unless_asked_to(contents: GgufParts) -> None:
    lender = replace(GPU, name="10.0.0.2:50052", lent=True)
    plain = replace(OPTIONS, n_gpu_layers=-1, flash_attention=False)

    def host_cache(options: EngineOptions, *gpus: Device) -> str:
        return LoadPlan.of(contents, options, replace(PLAIN, gpus=gpus)).lines()[-1].split(maxsplit=2)[-1]

    told = "tokens of evicted prefixes in main memory"
    why = "; without flash attention workers send each row of values by itself"
    assert host_cache(plain, lender) == f"0 {told}{why}"
    assert host_cache(replace(plain, n_host_cache=99), lender) == f"99 {told}{why}"
    for options, gpus in (
        (replace(plain, flash_attention=None), (lender,)),
        (replace(plain, n_gpu_layers=1), (lender,)),  # the output alone
        (plain, (GPU,)),
        (plain, ()),
    ):
        assert host_cache(options, *gpus) == f"1,024 {told}"


@pytest.mark.parametrize(
    "fields",
    [{}, {"n_batch": 512}, {"n_batch": 512, "n_ctx": 4096}, {"n_batch": 512, "flash_attention": False}],
    ids=["small batches", "large batches", "a long context", "no flash attention"],
)
def test_compute_buffers_are_about_those_of_llama_cpp(
    model: ModelHandle, fields: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    options = replace(OPTIONS, **fields)  # type: ignore[arg-type]
    caplog.set_level(logging.DEBUG)
    with context_of(model, options):
        found = re.findall(r"CPU +(?:compute|output) buffer size = +([0-9.]+) MiB", caplog.text)
    assert len(found) == 2
    assert planned(model.file, options).compute == pytest.approx(sum(map(float, found)) * 2**20, rel=0.15)
