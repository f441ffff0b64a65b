"""What fits on machines of several sizes follows load plans, and the choice follows what fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from glm_gguf.errors import RequestError
from glm_gguf.gguf_file.parts import GgufParts, open_all_parts
from glm_gguf.llama.bandwidth import measure_bandwidth
from glm_gguf.llama.cpu_kernels import Cpu
from glm_gguf.llama.devices import Device
from glm_gguf.llama.engine_options import CacheType, EngineOptions
from glm_gguf.llama.fit import Choice, Fit, best, contexts, least
from glm_gguf.llama.kernel_rates import KernelRates, Seconds
from glm_gguf.llama.load_plan import LoadPlan, Machine
from tests.gguf_file.builder import glm4, glm4_9b

GB = 10**9
OPTIONS = EngineOptions(threads=2, n_ctx=8192, n_batch=128, cache_type_k=CacheType.F16, cache_type_v=CacheType.F16)
PLAIN = Machine((), 64 * GB, Cpu(frozenset({"AVX2"}), None))
GPU = Device("CUDA0", "a GPU", "0000:01", integrated=False, pointer=1, memory=6 * GB)


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> GgufParts:
    return open_all_parts(glm4_9b().write_hollow(tmp_path_factory.mktemp("fit") / "9b.gguf"))


@pytest.mark.parametrize("n_ctx", [4096, 8192, 32768])
def test_sizes_are_those_of_the_load_plan(n_ctx: int, contents: GgufParts) -> None:
    options = replace(OPTIONS, n_ctx=n_ctx)
    fit, plan = Fit.of(contents, options, PLAIN), LoadPlan.of(contents, options, PLAIN)
    assert (fit.weights, fit.cache, fit.compute) == (contents.file_size, plan.need.cache, plan.compute)
    assert fit.cache == 40 * 2 * 256 * 2 * n_ctx  # layers, keys and values, width, bytes of f16
    assert fit.total == fit.weights + fit.cache + fit.compute
    assert (str(fit), fit.fits, fit.is_tight) == ("fits", True, False)


def test_whatever_fits_can_be_loaded(contents: GgufParts) -> None:
    need = Fit.of(contents, OPTIONS, PLAIN).main_memory
    for memory in (need // 2, need - 1, need, 2 * need):
        machine = replace(PLAIN, memory=memory)
        fit = Fit.of(contents, OPTIONS, machine)
        assert fit.fits is (memory >= need)
        assert str(fit) == ("fits" if fit.fits else "opens, far slower: weights are read again and again")
        if fit.fits:
            assert LoadPlan.of(contents, OPTIONS, machine).need.cache == fit.cache
    with pytest.raises(RequestError, match="leave it out"):
        LoadPlan.of(contents, replace(OPTIONS, mlock=True), replace(PLAIN, memory=need // 2))


def test_a_small_gpu_takes_some_layers_and_main_memory_the_others(contents: GgufParts) -> None:
    machine = replace(PLAIN, gpus=(GPU,), memory=8 * GB)
    fit = Fit.of(contents, OPTIONS, machine)
    n_on_gpus = LoadPlan.of(contents, OPTIONS, machine).offload.n_on_gpus
    assert 0 < n_on_gpus < 41
    assert str(fit) == f"fits with {n_on_gpus} of 41 layers on the GPU"
    assert str(Fit.of(contents, OPTIONS, replace(machine, memory=GB // 4))) == "does not fit"


def test_a_large_gpu_takes_all_and_main_memory_buffers_alone(contents: GgufParts) -> None:
    fit = Fit.of(contents, OPTIONS, replace(PLAIN, gpus=(replace(GPU, memory=40 * GB),), memory=GB))
    assert (str(fit), fit.all_on_gpu) == ("fits with 41 of 41 layers on the GPU", True)
    assert 0 < fit.main_memory < 0.5 * GB


def test_nothing_is_said_where_nothing_tells_the_free_memory(contents: GgufParts) -> None:
    fit = Fit.of(contents, OPTIONS, replace(PLAIN, memory=None))
    assert fit.fits is None
    assert "unknown" in str(fit)
    assert best([Choice(None, fit)]) is None


def test_rates_are_those_of_a_context_that_is_half_full(contents: GgufParts) -> None:
    fit = Fit.of(contents, OPTIONS, PLAIN, KernelRates(Seconds(0.1, 0.01), Seconds(1e-4, 1e-5)))
    assert fit.answer_rate == pytest.approx(1 / (0.1 + 4096 * 1e-4))
    assert fit.prompt_rate == pytest.approx(4096 / sum(0.01 + before * 1e-5 for before in range(4096)), rel=0.01)
    assert Fit.of(contents, OPTIONS, PLAIN).answer_rate is None


@pytest.mark.parametrize(
    ("known", "asked", "tried"),
    [
        (32768, (), (4096, 8192, 32768)),
        (2048, (), (2048,)),
        (10000, (), (4096, 8192, 10000)),
        (131072, (), (4096, 8192, 32768, 131072)),
        (32768, (6000, 512, 6000), (512, 6000)),
    ],
    ids=["32K", "a short one", "an odd one", "128K", "asked"],
)
def test_contexts_go_up_to_the_models_own(
    known: int, asked: Sequence[int], tried: tuple[int, ...], tmp_path: Path
) -> None:
    model = glm4()
    model.keys["glm4.context_length"] = (4, known)
    assert contexts(open_all_parts(model.write(tmp_path / "m.gguf")), asked, EngineOptions(), PLAIN) == tried


def test_a_context_beyond_the_models_own_is_refused(contents: GgufParts) -> None:
    with pytest.raises(RequestError, match="give up to 32768, or stretch it with yarn=2"):
        contexts(contents, [4096, 32769], EngineOptions(), PLAIN)
    assert contexts(contents, [65536], EngineOptions(yarn=2), PLAIN) == (65536,)


def test_the_context_that_the_model_would_be_opened_with_is_among_them(contents: GgufParts) -> None:
    machine = replace(PLAIN, memory=contents.file_size + GB)
    tried = contexts(contents, (), EngineOptions(), machine)
    assert len(tried) == 4
    opened = LoadPlan.of(contents, EngineOptions(), machine).size.n_cells
    assert opened in tried
    fits = [Fit.of(contents, EngineOptions(n_ctx=n_ctx), machine) for n_ctx in tried]
    assert [fit.n_ctx for fit in fits if fit.fits and "q8_0" not in str(fit)] == [n for n in tried if n <= opened]


def choice(type_: str, n_ctx: int, gigabytes: int, free: int = 32, disk: int = 1000) -> Choice:
    """A choice with so many gigabytes of weights and nothing else."""
    n_bytes = gigabytes * GB
    return Choice(
        type_, Fit(n_ctx, n_bytes, 0, 0, n_bytes, free * GB, free * GB // 10, 0, 41, False, (), None), disk * GB
    )


def on_gpu(given: Choice) -> Choice:
    return replace(given, fit=replace(given.fit, main_memory=0, n_on_gpus=41))


CHOICES = {
    "largest": ([choice("Q4_K_M", 8192, 6), choice("Q8_0", 8192, 10)], 1),
    "room": ([choice("Q4_K_M", 8192, 6), choice("Q8_0", 8192, 31)], 0),
    "tight": ([choice("Q4_K_M", 8192, 31), choice("Q8_0", 8192, 40)], 0),
    "context": ([choice("Q4_K_M", 8192, 6), choice("Q8_0", 4096, 10)], 0),
    "longest": ([choice("Q8_0", 8192, 10), choice("Q8_0", 32768, 10), choice("Q4_K_M", 131072, 6)], 1),
    "disk": ([choice("Q4_K_M", 8192, 6, disk=7), choice("Q8_0", 8192, 10, disk=7)], 0),
    "gpu": ([on_gpu(choice("Q4_K_M", 8192, 6)), choice("Q8_0", 8192, 10)], 0),
    "nothing": ([choice("Q4_K_M", 8192, 40), choice("Q8_0", 8192, 50)], None),
}


@pytest.mark.parametrize("case", CHOICES)
def test_the_best_choice(case: str) -> None:
    choices, expected = CHOICES[case]
    for ordered in (choices, choices[::-1]):
        assert best(ordered) == (None if expected is None else choices[expected])
    assert least(choices).fit.main_memory == min(each.fit.main_memory for each in choices)


@pytest.mark.parametrize("available", [None, 2**30, 2**22], ids=["unknown", "much", "little"])
def test_the_measured_bandwidth_is_one_that_memory_can_have(available: int | None) -> None:
    assert 10**8 < measure_bandwidth(2, available) < 10**13
