"""How the next token is sampled: the parameters a caller may give, and where their defaults come from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from glm_gguf.errors import RequestError
from glm_gguf.gguf_file.values import Metadata, decimal, integer
from glm_gguf.llama.bounds import MOST_INTEGER, Bounds
from glm_gguf.variant import ADVICE, Variant

RANDOM_SEED = 0xFFFFFFFF  # LLAMA_DEFAULT_SEED of llama.h: the sampler would draw its own
MOST_STOPS = 128
MOST_STOP_LENGTH = 1024
"""Characters: every stop text is searched after every token."""
SAMPLING_BOUNDS: Final[Mapping[str, Bounds]] = MappingProxyType(
    {
        "temperature": Bounds(0, 100),
        "top_k": Bounds(0, MOST_INTEGER, whole=True),
        "top_p": Bounds(0, 1),
        "min_p": Bounds(0, 1),
        "seed": Bounds(0, RANDOM_SEED - 1, whole=True),
        "max_tokens": Bounds(1, MOST_INTEGER, whole=True),
        "repeat_penalty": Bounds(0.01, 100),
        "frequency_penalty": Bounds(-100, 100),
        "presence_penalty": Bounds(-100, 100),
        "penalty_last_n": Bounds(0, 2**20, whole=True),
        "logprobs": Bounds(0, 20, whole=True),  # as OpenAI's API allows
        "thinking_budget": Bounds(0, MOST_INTEGER, whole=True),
    }
)
"""Field of SamplingParams that is a number → its bounds."""
DRY_BOUNDS: Final[Mapping[str, Bounds]] = MappingProxyType(
    {
        "multiplier": Bounds(0, 100),
        "base": Bounds(1, 100),
        "allowed_length": Bounds(0, MOST_INTEGER, whole=True),
        "last_n": Bounds(1, 2**20, whole=True),
    }
)
"""Field of Dry → its bounds."""
TOKEN_ID: Final = Bounds(0, MOST_INTEGER, whole=True)
BIAS: Final = Bounds(-100, 100)
"""Keys and values of logit_bias."""


@dataclass(frozen=True, slots=True)
class Dry:
    """Don't repeat yourself: the longer a repetition, the less likely is the token that would continue it."""

    multiplier: float = 0.8
    base: float = 1.75
    allowed_length: int = 2
    """Repetitions up to this many tokens are free."""
    last_n: int = 1024
    """The last tokens of the answer that count."""
    breakers: tuple[str, ...] = ("\n", ":", '"', "*")
    """Texts that end a repetition."""

    def __post_init__(self) -> None:
        for name, bounds in DRY_BOUNDS.items():
            bounds.check(f"dry.{name}", getattr(self, name))
        if not all(isinstance(text, str) and text and "\0" not in text for text in self.breakers):
            raise RequestError("a breaker is no text", field="dry.breakers", fix="give texts that are not empty")


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """The sampling of one request; None leaves a field to the model's file. Temperature 0 takes the likeliest token."""

    temperature: float | None = None
    top_k: int | None = None
    """Only the k likeliest tokens; 0 is all."""
    top_p: float | None = None
    """Only the likeliest tokens that together reach this probability."""
    min_p: float | None = None
    """Only tokens at least this fraction as likely as the likeliest."""
    seed: int | None = None
    """None chooses one at random."""
    max_tokens: int | None = None
    """Tokens of the answer at most; None allows all that the context holds."""
    repeat_penalty: float | None = None
    """Divides the logits of tokens that are in the answer; 1 changes nothing. Not for tool calls."""
    frequency_penalty: float | None = None
    """Subtracted from a token's logit for every time that it is in the answer."""
    presence_penalty: float | None = None
    """Subtracted from a token's logit once if it is in the answer."""
    penalty_last_n: int | None = None
    """The last tokens of the answer that count for the three penalties; None is 64."""
    dry: Dry | None = None
    logit_bias: Mapping[int, float] | None = None
    """Token id → the number added to its logit; -100 forbids it."""
    stop: str | Sequence[str] | None = None
    """Texts that end the visible answer, and are not part of it. They are stored as a tuple, even a single one."""
    logprobs: int | None = None
    """Report the log probability of every token, and of so many of the likeliest in its place."""
    ignore_eos: bool | None = None
    """Never sample an EOG token; for measurements."""
    thinking_budget: int | None = None
    """Tokens of a thought at most: then the engine closes it, and the answer follows (GLM-Z1)."""

    def __post_init__(self) -> None:
        for name, bounds in SAMPLING_BOUNDS.items():
            bounds.check(name, getattr(self, name))
        if not isinstance(self.ignore_eos, bool | None):
            raise RequestError(f"{self.ignore_eos!r} is no truth value", field="ignore_eos", fix="give True or False")
        if not isinstance(self.dry, Dry | None):
            raise RequestError(f"{type(self.dry).__name__} is no Dry", field="dry", fix="give Dry(…)")
        # A frozen dataclass leaves no other way to store one form of fields that have several.
        object.__setattr__(self, "logit_bias", _biases(self.logit_bias))
        object.__setattr__(self, "stop", _stops(self.stop))

    def filled(self, defaults: SamplingParams) -> SamplingParams:
        """Return these parameters with the fields that are None taken from `defaults`."""
        fields = [field.name for field in dataclasses.fields(self)]
        chosen = {name: getattr(self, name) for name in fields if getattr(self, name) is not None}
        return dataclasses.replace(defaults, **chosen)


def _stops(stop: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """Return one or several stop texts as a tuple."""
    if stop is None:
        return None
    texts = (stop,) if isinstance(stop, str) else tuple(stop) if isinstance(stop, Sequence) else (None,)
    if not all(isinstance(text, str) and text for text in texts):
        raise RequestError(
            "a stop text is empty, or is no text", field="stop", fix="give a text or several, none of them empty"
        )
    if len(texts) > MOST_STOPS or any(len(text) > MOST_STOP_LENGTH for text in texts):
        fix = f"give up to {MOST_STOPS} texts of up to {MOST_STOP_LENGTH} characters"
        raise RequestError("there are too many stop texts, or one is too long", field="stop", fix=fix)
    return texts


def _biases(biases: Mapping[int, float] | None) -> Mapping[int, float] | None:
    """Return biases by token id; ids may be decimal texts, as JSON writes keys."""
    if biases is None:
        return None
    if not isinstance(biases, Mapping):
        raise RequestError(f"{type(biases).__name__} is no mapping", field="logit_bias", fix="give {token id: bias}")
    read = {int(key) if isinstance(key, str) and key.isdecimal() else key: bias for key, bias in biases.items()}
    for token_id, bias in read.items():
        TOKEN_ID.check("logit_bias", token_id)
        BIAS.check("logit_bias", bias)
    return read


OFFICIAL_DEMO = SamplingParams(temperature=0.6, top_k=0, top_p=0.8, min_p=0.0)
"""The parameters of zai-org's own demos of the chat models, whose model cards advise none."""


def default_sampling(metadata: Metadata, variant: Variant) -> SamplingParams:
    """Return the file's general.sampling.* keys; the card's advice, then the official demos' values fill the others."""
    advice, top_k = ADVICE[variant], integer(metadata, "general.sampling.top_k")
    card = SamplingParams(temperature=advice.temperature, top_p=advice.top_p, top_k=advice.top_k)
    # LLM_KV_GENERAL_SAMPLING_* of llama-arch.cpp
    file = SamplingParams(
        temperature=decimal(metadata, "general.sampling.temp"),
        top_k=None if top_k is None else max(0, top_k),  # llama.cpp takes any other number for all tokens
        top_p=decimal(metadata, "general.sampling.top_p"),
        min_p=decimal(metadata, "general.sampling.min_p"),
    )
    return file.filled(card.filled(OFFICIAL_DEMO))
