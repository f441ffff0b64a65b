"""The cut by top_p keeps the tokens of llama.cpp's own samplers, and samples the same."""

import ctypes

import llama_cpp
import numpy as np
import pytest

from glm_gguf.llama.model_handle import ModelHandle
from glm_gguf.llama.nucleus import Nucleus
from glm_gguf.llama.sampler import TOKEN_DATA, Sampler
from glm_gguf.llama.sampling_params import SamplingParams

VOCABULARY = 151_552
SHAPES = {
    "peaked": lambda rng: rng.standard_normal(VOCABULARY) * 5,
    "flat": lambda rng: rng.standard_normal(VOCABULARY) * 0.5,
    "one above all": lambda rng: np.where(np.arange(VOCABULARY) == 77, 60.0, rng.standard_normal(VOCABULARY)),
    "masked but for three": lambda rng: np.where(
        np.arange(VOCABULARY) % 60_000 == 5, rng.standard_normal(VOCABULARY), -np.inf
    ),
    "a few tokens": lambda rng: rng.standard_normal(6),
}


def drawn_by_llama_cpp(logits: np.ndarray, params: SamplingParams) -> tuple[list[int], int]:
    """Return the tokens that its samplers keep, the likeliest first, and the one they sample."""
    candidates = (llama_cpp.llama_token_data * len(logits))()
    fields = np.frombuffer(candidates, TOKEN_DATA)
    fields["id"], fields["logit"] = np.arange(len(logits)), logits
    array = llama_cpp.llama_token_data_array(candidates, len(logits), -1, False)
    for link in (
        llama_cpp.llama_sampler_init_temp(params.temperature),
        llama_cpp.llama_sampler_init_top_p(params.top_p, 1),
        llama_cpp.llama_sampler_init_dist(params.seed),
    ):
        llama_cpp.llama_sampler_apply(link, ctypes.byref(array))
        llama_cpp.llama_sampler_free(link)
    kept = [array.data[place].id for place in range(array.size)]
    return kept, kept[array.selected]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize(("temperature", "top_p"), [(0.6, 0.95), (0.95, 0.7), (1.0, 0.999), (1.7, 0.01), (1e-6, 0.5)])
def test_it_keeps_and_samples_the_tokens_of_llama_cpp(
    model: ModelHandle, shape: object, temperature: float, top_p: float
) -> None:
    assert callable(shape)
    for seed in range(3):
        logits = shape(np.random.default_rng(seed)).astype(np.float32)
        params = SamplingParams(temperature=temperature, top_p=top_p, top_k=0, min_p=0, seed=seed)
        with Sampler(params, model.vocabulary) as sampler:
            assert sampler.nucleus == Nucleus(temperature, top_p)
            ids = sampler.nucleus.of(logits)
            kept, token_id = drawn_by_llama_cpp(logits, params)
            both = min(len(ids), len(kept))
            assert np.allclose(logits[ids[:both]], logits[kept[:both]], rtol=1e-6, atol=1e-6)
            # llama.cpp adds 151,552 floats up one by one, which is off in the fourth place.
            weights = np.exp((logits.astype(np.float64) - logits.max()) / temperature)
            assert weights[ids].sum() >= (top_p - 1e-6) * weights.sum() > weights[ids[:-1]].sum() - 1e-5 * weights.sum()
            assert abs(weights[ids].sum() - weights[kept].sum()) < 1e-3 * weights.sum()
            if len(ids) == len(kept):  # of equal logits the order is open
                assert np.isclose(logits[sampler.sample(ids, logits)], logits[token_id], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "fields",
    [{"temperature": 0.0}, {"top_p": 1.0}, {"top_k": 40}, {"frequency_penalty": 0.5}],
    ids=lambda fields: next(iter(fields)),
)
def test_other_cuts_are_left_to_llama_cpp(model: ModelHandle, fields: dict[str, float]) -> None:
    params = SamplingParams(**{"temperature": 0.6, "top_p": 0.9, **fields})
    with Sampler(params, model.vocabulary) as sampler:
        assert sampler.nucleus is None
