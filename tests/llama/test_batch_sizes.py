"""How large batches are: of one request, of several, and of prompts beside answers."""

from dataclasses import replace

import llama_cpp
import pytest
from engine.conversations import EXACT, Bench
from loading import planned

from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.llama.model_handle import ModelHandle
from glm_gguf.llama.sampling_params import SamplingParams

HAS_AVX512 = "AVX512 = 1" in llama_cpp.llama_print_system_info().decode()
ONE_TOKEN = SamplingParams(temperature=0, max_tokens=1, ignore_eos=True)


@pytest.mark.parametrize(
    ("n_batch", "alone", "shared"),
    [(None, 512 if HAS_AVX512 else 128, 128), (64, 64, 64), (700, 700, 700), (4096, 1024, 1024), (1, 7, 7)],
    ids=["by the processor", "fewer", "more", "more than the context", "fewer than sequences"],
)
def test_batches_for_one_request_and_for_several(
    model: ModelHandle, n_batch: int | None, alone: int, shared: int
) -> None:
    options = EngineOptions(n_ctx=1024, n_parallel=4, n_batch=n_batch, n_gpu_layers=0)
    batches = planned(model.file, options).batches
    assert (batches.alone, batches.shared, batches.beside_answers) == (alone, shared, options.n_chunk)


@pytest.mark.parametrize(("requests", "steps"), [(1, 1), (2, 5), (3, 9)], ids=["one", "two", "three"])
def test_several_requests_share_smaller_batches(exact_model: ModelHandle, requests: int, steps: int) -> None:
    options = replace(EXACT, n_batch=256)
    plan = planned(exact_model.file, options)
    with Bench(exact_model, options, replace(plan, batches=replace(plan.batches, shared=64))) as bench:
        for first in range(requests):
            bench.ask([first + 5] * 256, ONE_TOKEN)
        bench.run()
        assert bench.scheduler.steps == steps  # four for each but the last, which is alone by then
