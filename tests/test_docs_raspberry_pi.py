"""The table of the Raspberry Pi is what plan computes for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from checkpoints import Shape, write_hollow_weights
from documents import REPOSITORY

from glm_gguf.convert import ConvertOptions, TypeChoices, make_plans
from glm_gguf.convert.planned_head import planned_heads
from glm_gguf.convert.source.source import Source
from glm_gguf.cpus import Cores
from glm_gguf.gguf_file.parts import GgufParts
from glm_gguf.llama.cpu_kernels import Cpu
from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.llama.fit import Choice, Fit, best, contexts
from glm_gguf.llama.free_memory import OTHERS_SHARE, FreeMemory
from glm_gguf.llama.load_plan import LoadPlan, Machine
from glm_gguf.llama.memory_need import written_size
from tests.topologies import LINUX, linux_tree_cores

FREE = 7_400_000_000
PI = Machine.of(
    (), FreeMemory(FREE, int(FREE * OTHERS_SHARE)), Cpu(frozenset({"NEON", "ARM_FMA", "FP16_VA", "DOTPROD"}), None)
)
TYPES = ("Q5_K_M", "Q4_K_M", "IQ4_XS", "Q3_K_M", "Q2_K")
NINE_B = Shape(
    *(4096, 13696, 40, 32, 2, 128, 151552), bias=True, extra={"max_position_embeddings": 32768}
)  # config.json of zai-org/GLM-4-9B-0414


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, GgufParts]:
    """The heads of the files that a conversion would write."""
    directory = tmp_path_factory.mktemp("pi")
    (directory / "config.json").write_text(json.dumps(NINE_B.config()))
    plans = make_plans(
        Source.local(write_hollow_weights(directory)), ConvertOptions(types=TypeChoices(TYPES[0], TYPES[1:]))
    )
    return {plan.file_type.name: GgufParts((head,)) for plan, head in zip(plans, planned_heads(plans), strict=True)}


@pytest.fixture
def options(tmp_path: Path) -> EngineOptions:
    """What is asked for by default, with the threads that its four cores get."""
    cpus = range(LINUX["Raspberry Pi 5"].n_cpus)
    cores = Cores.of(linux_tree_cores("Raspberry Pi 5", tmp_path), cpus, None)
    return EngineOptions(threads=cores.n_compute_threads)


def row(name: str, contents: GgufParts, options: EngineOptions) -> str:
    fit = Fit.of(contents, EngineOptions(n_ctx=8192, threads=options.threads), PI)
    verdict = "" if fit.fits and not fit.is_tight else ", tight" if fit.fits else ", does not fit"
    opened = LoadPlan.estimate(contents, options, PI)
    context = f"{opened.size.n_cells:,}" if opened.fits else "reads the file again and again"
    sizes = written_size(fit.weights), f"{written_size(fit.main_memory)}{verdict}"
    return f"| {name} | {' | '.join(sizes)} | {context} |"


def test_the_table_is_what_plan_computes(files: dict[str, GgufParts], options: EngineOptions) -> None:
    page = (REPOSITORY / "docs" / "platforms.md").read_text("utf-8")
    rows = [row(name, contents, options) for name, contents in files.items()]
    assert "\n".join(rows) in page, "\n".join(rows)


def test_plan_recommends_the_type_of_the_example(files: dict[str, GgufParts], options: EngineOptions) -> None:
    choices = [
        Choice(name, Fit.of(contents, EngineOptions(n_ctx=n_ctx, threads=options.threads), PI))
        for name, contents in files.items()
        for n_ctx in contexts(contents, (), options, PI)
    ]
    chosen = best(choices)
    assert chosen is not None
    assert (chosen.type, chosen.fit.n_ctx) == ("IQ4_XS", 26368)
