"""GPUs get the last layers, as many as fit, in proportion to their free memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from glm_gguf import GLM, EngineOptions, SamplingParams
from glm_gguf.gguf_file.parts import GgufParts, open_all_parts
from glm_gguf.llama.devices import gpus
from glm_gguf.llama.load_plan import LoadPlan, Machine
from glm_gguf.llama.memory_need import cell_size
from glm_gguf.llama.offload import Offload, layer_sizes, layers_that_fit

OPTIONS = EngineOptions(threads=1, n_ctx=1024)


@pytest.fixture(scope="module")
def contents(tiny_gguf: Callable[[str], Path]) -> GgufParts:
    return open_all_parts(tiny_gguf("Q8_0"))


@pytest.mark.parametrize(("room", "count"), [(4300, 41), (4299, 40), (400, 2), (399, 1), (300, 1), (299, 0), (0, 0)])
def test_one_gpu_takes_the_last_layers(room: int, count: int) -> None:
    assert layers_that_fit([100] * 40 + [300], [room]) == count


@pytest.mark.parametrize(
    ("sizes", "rooms", "count"),
    [
        ([100] * 4, [200, 200], 4),
        ([100] * 4, [199, 200], 2),  # of three, the first would get two
        ([100] * 4, [200, 199], 3),
        ([100] * 4, [300, 100], 4),
        ([100] * 4, [0, 400], 4),
        ([100] * 4, [400, 0], 4),
        ([100, 100, 100, 300], [200, 200], 0),  # the output alone goes to the first
        ([100, 100, 100, 300], [300, 300], 3),
    ],
)
def test_several_gpus_get_layers_in_proportion(sizes: list[int], rooms: list[int], count: int) -> None:
    assert layers_that_fit(sizes, rooms) == count


def test_the_layers_are_all_of_the_model_but_the_embedding(contents: GgufParts) -> None:
    sizes = layer_sizes(contents, 1024 * cell_size(contents, OPTIONS))
    embedding = next(tensor.n_bytes for tensor in contents.tensors if tensor.name == "token_embd.weight")
    tensors = sum(tensor.n_bytes for tensor in contents.tensors)
    assert sum(sizes) == tensors - embedding + 1024 * cell_size(contents, OPTIONS)
    assert len(sizes) == int(contents.metadata["glm4.block_count"].value) + 1  # type: ignore[arg-type]


def test_the_cpu_computes_the_other_layers(contents: GgufParts) -> None:
    options = replace(OPTIONS, n_gpu_layers=0)
    count = len(layer_sizes(contents, 0))
    assert LoadPlan.of(contents, options, Machine.here(options)).offload == Offload((), (), 0, count)
    assert [Offload((), (), layers, 40).cpu_share for layers in (0, 10, 40)] == [1, 0.75, 0]


def test_layers_move_to_a_gpu(tiny_gguf: Callable[[str], Path]) -> None:
    if not gpus():
        pytest.skip("llama.cpp finds no GPU here")
    path = tiny_gguf("F16")
    count = len(layer_sizes(open_all_parts(path), 0))
    answers = []
    for asked, there in ((0, 0), (1, 1), (count - 1, count - 1), (-1, count), ("auto", count)):
        options = replace(OPTIONS, n_ctx=8192, n_gpu_layers=asked)
        assert LoadPlan.of(open_all_parts(path), options, Machine.here(options)).offload.n_on_gpus == there
        before = gpus()[0].memory or 0
        with GLM(path, options=options) as glm:
            taken = before - (gpus()[0].memory or 0)
            answers.append(glm.chat([{"role": "user", "content": "Hello"}], sampling=SamplingParams(temperature=0)))
        assert (taken > 0) == (there > 0)
    assert len({answer.content for answer in answers}) == 1
