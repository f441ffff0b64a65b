"""How the next token is drawn: the parameters a caller may give, and where their defaults come from."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from glm_gguf.errors import RequestError
from glm_gguf.gguf_file.values import Metadata, decimal, integer
from glm_gguf.variant import ADVICE, Variant

RANDOM_SEED = 0xFFFFFFFF  # LLAMA_DEFAULT_SEED of llama.h: the sampler would draw its own


def _check(name: str, value: float | None, low: float, high: float) -> None:
    """Raise RequestError unless a number lies between its bounds, both allowed."""
    if value is not None and not (math.isfinite(value) and low <= value <= high):
        raise RequestError(f"{value} is out of range", where=name, fix=f"give {low} to {high}")


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """What a caller asks for; None leaves a field to the model's file. Temperature 0 takes the likeliest token."""

    temperature: float | None = None
    top_k: int | None = None
    """Only the k likeliest tokens; 0 is all."""
    top_p: float | None = None
    """Only the likeliest tokens that together reach this probability."""
    min_p: float | None = None
    """Only tokens at least this fraction as likely as the likeliest."""
    seed: int | None = None
    """None draws one."""
    max_tokens: int | None = None
    """Most tokens of the answer; None goes on to the end of the context."""

    def __post_init__(self) -> None:
        _check("temperature", self.temperature, 0, 100)
        _check("top_k", self.top_k, 0, 2**31 - 1)
        _check("top_p", self.top_p, 0, 1)
        _check("min_p", self.min_p, 0, 1)
        _check("seed", self.seed, 0, RANDOM_SEED - 1)
        _check("max_tokens", self.max_tokens, 1, 2**31 - 1)

    def filled(self, defaults: SamplingParams) -> SamplingParams:
        """Return these parameters with open fields taken from `defaults`."""
        fields = [field.name for field in dataclasses.fields(self)]
        chosen = {name: getattr(self, name) for name in fields if getattr(self, name) is not None}
        return dataclasses.replace(defaults, **chosen)


OFFICIAL_DEMO = SamplingParams(temperature=0.6, top_k=0, top_p=0.8, min_p=0.0)
"""What zai-org's own demos sample the chat models with, whose model cards advise nothing."""


def default_sampling(metadata: Metadata, variant: Variant) -> SamplingParams:
    """Return the file's general.sampling.* keys, over the card's advice, over the official demos' values."""
    advice = ADVICE[variant]
    card = SamplingParams(temperature=advice.temperature, top_p=advice.top_p, top_k=advice.top_k)
    # LLM_KV_GENERAL_SAMPLING_* of llama-arch.cpp
    file = SamplingParams(
        temperature=decimal(metadata, "general.sampling.temp"),
        top_k=integer(metadata, "general.sampling.top_k"),
        top_p=decimal(metadata, "general.sampling.top_p"),
        min_p=decimal(metadata, "general.sampling.min_p"),
    )
    return file.filled(card.filled(OFFICIAL_DEMO))
