"""Sampling parameters are checked, and open ones come from the file."""

import math

import pytest

from glm_gguf.errors import EngineError, RequestError
from glm_gguf.gguf_file.values import Scalar, ValueType
from glm_gguf.llama.model_handle import ModelHandle
from glm_gguf.llama.sampler import Sampler
from glm_gguf.llama.sampling_params import OFFICIAL_DEMO, SamplingParams, default_sampling
from glm_gguf.variant import Variant

WRONG = [
    {"temperature": -0.1},
    {"temperature": math.nan},
    {"temperature": math.inf},
    {"top_k": -1},
    {"top_p": 1.5},
    {"min_p": -1},
    {"seed": -1},
    {"seed": 2**32 - 1},
    {"max_tokens": 0},
]


@pytest.mark.parametrize("fields", WRONG, ids=str)
def test_a_value_out_of_range_is_refused_by_name(fields: dict[str, float]) -> None:
    with pytest.raises(RequestError, match=next(iter(fields))):
        SamplingParams(**fields)  # type: ignore[arg-type]


def test_given_values_win_over_defaults() -> None:
    given = SamplingParams(temperature=0, max_tokens=5)
    assert given.filled(OFFICIAL_DEMO) == SamplingParams(0, 0, 0.8, 0.0, None, 5)


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        (Variant.CHAT, SamplingParams(0.6, 0, 0.8, 0.0)),
        (Variant.Z1, SamplingParams(0.6, 40, 0.95, 0.0)),
        (Variant.RUMINATION, SamplingParams(0.95, 0, 0.7, 0.0)),
    ],
    ids=str,
)
def test_the_card_advises_where_the_file_says_nothing(variant: Variant, expected: SamplingParams) -> None:
    assert default_sampling({}, variant) == expected


def test_the_file_wins_over_the_card() -> None:
    metadata = {
        "general.sampling.temp": Scalar(ValueType.FLOAT32, 0.25),
        "general.sampling.top_k": Scalar(ValueType.INT32, 7),
    }
    assert default_sampling(metadata, Variant.Z1) == SamplingParams(0.25, 7, 0.95, 0.0)


def test_a_negative_top_k_of_a_file_is_all_tokens_as_in_llama_cpp() -> None:
    metadata = {"general.sampling.top_k": Scalar(ValueType.INT32, -1)}
    assert default_sampling(metadata, Variant.CHAT).top_k == 0


@pytest.mark.parametrize(
    "params",
    [SamplingParams(temperature=0), SamplingParams(1, 1, 0.5, 0.1, 3), SamplingParams(1, 0, 0.0, 0.0, 3)],
    ids=["greedy", "all cuts", "none but top_p 0"],
)
def test_a_sampler_is_made_and_freed(model: ModelHandle, params: SamplingParams) -> None:
    with Sampler(params, model.vocabulary) as sampler:
        assert sampler.pointer
    sampler.close()
    with pytest.raises(EngineError, match="closed"):
        _ = sampler.pointer
