"""Memory that CPU and GPU share counts once; on Macs what counts is the working set that macOS recommends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from glm_gguf.gguf_file.parts import GgufParts, open_all_parts
from glm_gguf.llama.cpu_kernels import Cpu
from glm_gguf.llama.devices import Device
from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.llama.fit import Fit
from glm_gguf.llama.free_memory import FreeMemory
from glm_gguf.llama.load_plan import LoadPlan, Machine
from glm_gguf.llama.offload import SPARE
from tests.gguf_file.builder import glm4_9b

GB = 10**9
NEON = Cpu(frozenset({"NEON", "DOTPROD"}), None)
AUTO = EngineOptions(threads=4, n_ctx=8192)
WORKING_SETS = {8: 5_726_630_000, 16: 11_453_250_000, 24: 19_069_000_000, 32: 22_906_500_000}
"""Memory of a Mac in GiB → bytes that llama.cpp's log names as recommendedMaxWorkingSetSize there."""
BUSY = FreeMemory(3 * GB, GB // 3)
"""A Mac on which browsers and the like hold the rest."""


def mac(memory: int, description: str = "Apple M3 Pro", free: FreeMemory = BUSY) -> Machine:
    """A Mac as llama.cpp describes its GPU."""
    gpu = Device("MTL0", description, "MTL0", integrated=False, pointer=1, memory=WORKING_SETS[memory])
    return Machine.of((gpu,), free, NEON)


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> GgufParts:
    """GLM-4-9B's shapes as Q8_0, 10 GB."""
    return open_all_parts(glm4_9b().write_hollow(tmp_path_factory.mktemp("unified") / "9b.gguf"))


@pytest.mark.parametrize("memory", [24, 32])
def test_a_macs_gpu_takes_all_layers_where_the_working_set_holds_them(memory: int, contents: GgufParts) -> None:
    plan = LoadPlan.of(contents, AUTO, mac(memory))
    assert plan.offload.n_on_gpus == plan.offload.n_layers
    assert plan.main_memory == plan.need.total
    assert plan.fits
    assert Fit.of(contents, AUTO, mac(memory)).all_on_gpu


def test_what_the_cpu_computes_on_a_mac_comes_out_of_the_same_working_set(contents: GgufParts) -> None:
    """On a PC 8 GB of main memory and a GPU of 5.7 GB hold the model; 8 GB that both share do not."""
    machine = mac(8, free=FreeMemory(8 * GB, 0))
    plan = LoadPlan.estimate(contents, AUTO, machine)
    on_gpu = (1 - plan.offload.cpu_share) * (plan.need.weights + plan.need.cache)
    assert 0 < on_gpu <= WORKING_SETS[8] - SPARE
    assert plan.main_memory == plan.need.total > 8 * GB
    assert plan.fits is False
    (gpu,) = machine.gpus
    beside = LoadPlan.estimate(contents, AUTO, replace(machine, gpus=(replace(gpu, name="CUDA0"),)))
    assert beside.offload.n_on_gpus == plan.offload.n_on_gpus
    assert beside.main_memory == pytest.approx(plan.main_memory - on_gpu)
    assert beside.fits


@pytest.mark.parametrize("name", ["Vulkan0", "CUDA0", "SYCL0"])
def test_the_gpu_inside_a_processor_takes_main_memory_too(name: str, contents: GgufParts) -> None:
    inside = Device(name, "Radeon 780M", "0000:c1:00.0", integrated=True, pointer=1, memory=16 * GB)
    machine = Machine.of((inside,), FreeMemory(9 * GB, 0), NEON)
    plan = LoadPlan.estimate(contents, AUTO, machine)
    assert (plan.offload.cpu_share, plan.main_memory, plan.fits) == (0, plan.need.total, False)
    assert LoadPlan.of(contents, AUTO, replace(machine, memory=plan.need.total)).fits


def test_macos_makes_room_for_the_working_set_and_no_other_memory_counts_with_it() -> None:
    assert (mac(16).memory, mac(16).for_others) == (WORKING_SETS[16], 0)
    idle = FreeMemory(14 * GB, GB)
    assert (mac(16, free=idle).memory, mac(16, free=idle).for_others) == (14 * GB, GB)


def test_the_card_of_a_mac_with_intels_processor_has_memory_of_its_own(contents: GgufParts) -> None:
    machine = mac(24, "AMD Radeon Pro 5500M")
    assert machine.memory == BUSY.available
    plan = LoadPlan.of(contents, AUTO, machine)
    assert plan.offload.cpu_share == 0
    assert plan.main_memory == plan.need.compute + plan.need.process


def test_two_gpus_of_both_kinds_share_as_their_rooms_do(contents: GgufParts) -> None:
    card = Device("CUDA0", "a card", "0000:01:00.0", integrated=False, pointer=1, memory=7 * GB)
    inside = Device("CUDA1", "inside", "0000:02:00.0", integrated=True, pointer=1, memory=7 * GB)
    options = replace(AUTO, n_gpu_layers=-1, devices=("CUDA0", "CUDA1"))
    plan = LoadPlan.of(contents, options, Machine((card, inside), 16 * GB, NEON))
    assert plan.offload.main_share == 0.5
    assert LoadPlan.of(contents, options, Machine((inside, inside), 16 * GB, NEON)).offload.main_share == 1
    assert LoadPlan.of(contents, options, Machine((card, card), 16 * GB, NEON)).offload.main_share == 0
