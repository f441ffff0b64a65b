"""Fields of requests that say how tokens are drawn, as chat and text completions share them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from glm_gguf.llama.sampling_params import BIAS, DRY_BOUNDS, RANDOM_SEED, SAMPLING_BOUNDS, Dry, SamplingParams
from glm_gguf.server.bodies.wire import Count, Cut, Length, Whole, WireRequest, within
from glm_gguf.server.problem import Problem, Refused

SAME_NAMES = ("temperature", "top_p", "top_k", "min_p", "frequency_penalty", "presence_penalty", "ignore_eos")
LOOKED_BACK = int(SAMPLING_BOUNDS["penalty_last_n"].maximum)
"""Most tokens that penalties look back at, which is all of an answer."""

BiasValue = Annotated[float, within(BIAS)]
Temperature = Annotated[float, within(SAMPLING_BOUNDS["temperature"])]
Probability = Annotated[float, within(SAMPLING_BOUNDS["top_p"])]
LeastProbability = Annotated[float, within(SAMPLING_BOUNDS["min_p"])]
LogprobCount = Annotated[int, within(SAMPLING_BOUNDS["logprobs"])]
RepeatPenalty = Annotated[float, within(SAMPLING_BOUNDS["repeat_penalty"], minimum=0)]
Back = Annotated[Whole, within(SAMPLING_BOUNDS["penalty_last_n"], minimum=-1)]


class DryFields(WireRequest):
    """llama.cpp's names for DRY, which makes a token that would prolong a repetition less likely."""

    dry_multiplier: Annotated[float, within(DRY_BOUNDS["multiplier"])] | None = None
    """How much less likely DRY makes a token that would prolong a repetition; 0 is off."""
    dry_base: Annotated[float, within(DRY_BOUNDS["base"])] | None = None
    """By how much more with every token that is repeated."""
    dry_allowed_length: Annotated[Whole, within(DRY_BOUNDS["allowed_length"])] | None = None
    """Repetitions up to this many tokens are free."""
    dry_penalty_last_n: Back | None = None
    """Tokens of the answer that are looked back at; -1 is all, 0 none."""
    dry_sequence_breakers: list[Annotated[str, Field(min_length=1)]] | None = None
    """Texts behind which a repetition begins anew."""

    def dry(self) -> Dry | None:
        """Say it in the model's own value; None where nothing is said of it."""
        if self.dry_multiplier is None:
            return None
        multiplier = 0.0 if self.dry_penalty_last_n == 0 else self.dry_multiplier
        given = {
            "base": self.dry_base,
            "allowed_length": self.dry_allowed_length,
            "last_n": _looked_back(self.dry_penalty_last_n) or None,
            "breakers": None if self.dry_sequence_breakers is None else tuple(self.dry_sequence_breakers),
        }
        chosen: Any = {name: value for name, value in given.items() if value is not None}
        return Dry(multiplier, **chosen)


class SamplingFields(DryFields):
    """OpenAI's, and top_k, min_p, penalties and DRY under the names that most local servers have for them."""

    temperature: Temperature | None = None
    """0 takes the likeliest token."""
    top_p: Probability | None = None
    """Only the likeliest tokens that together reach this probability."""
    top_k: Cut | None = None
    """Only the k likeliest tokens; 0 and -1 are all."""
    min_p: LeastProbability | None = None
    """Only tokens at least this fraction as likely as the likeliest."""
    repeat_penalty: RepeatPenalty | None = None
    """Divides the logits of tokens that the answer holds already; 1 and 0 are none."""
    repetition_penalty: RepeatPenalty | None = None
    """vLLM's name for `repeat_penalty`."""
    penalty_last_n: Back | None = None
    """Tokens of the answer that penalties look back at; -1 is all."""
    repeat_last_n: Back | None = None
    """llama.cpp's name for `penalty_last_n`."""
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    """Taken from a token's logit for every time that the answer holds it."""
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    """Taken from a token's logit once if the answer holds it."""
    seed: Whole | None = None
    """-1 draws one."""
    logit_bias: dict[str, BiasValue] | list[list[Any]] | None = None
    """Token id → what is added to its logit; or a list of such pairs."""
    stop: str | list[str | None] | None = None
    """One text or several; the answer ends before the first that comes."""
    stop_sequences: list[str] | None = None
    """Anthropic's name for `stop`."""
    max_tokens: Length | None = None
    """Most tokens of an answer; -1 is no limit."""
    n_predict: Length | None = None
    """llama.cpp's name for `max_tokens`."""
    num_predict: Length | None = None
    """Ollama's name for it."""
    max_new_tokens: Length | None = None
    """transformers' name for it."""
    max_output_tokens: Length | None = None
    """Its name in OpenAI's Responses."""
    n: Count | None = None
    """Answers to one prompt."""
    ignore_eos: bool | None = None
    """Write up to max_tokens; for measurements."""
    lora: dict[str, float] | None = None
    """Name of a LoRA adapter of the server's → its scale; adapters that are not named are off."""
    timeout: Annotated[float, Field(gt=0)] | None = None
    """Seconds after which the answer ends as it is; before its first token it is an error, 408."""

    def sampling(self, **others: Any) -> SamplingParams:
        """Say it in the model's own value; `others` are fields of that."""
        given = {name: getattr(self, name) for name in SAME_NAMES}
        penalty = self.one_of("repeat_penalty", "repetition_penalty")
        return SamplingParams(
            **given,
            repeat_penalty=1.0 if penalty == 0 else penalty,
            penalty_last_n=_looked_back(self.one_of("penalty_last_n", "repeat_last_n")),
            dry=self.dry(),
            seed=_seed(self.seed),
            logit_bias=_biases(self.logit_bias),
            stop=_stops(self.one_of("stop", "stop_sequences")),
            **others,
        )

    def most_tokens(self) -> int | None:
        """Return how long the answer may be, under whichever name."""
        most: int | None = self.one_of("max_tokens", "n_predict", "num_predict", "max_new_tokens", "max_output_tokens")
        return most

    def one_of(self, *names: str) -> Any:
        """Return the value of the one of several names for a thing that is given; Refused where two disagree."""
        given = [name for name in names if getattr(self, name) is not None]
        values = [getattr(self, name) for name in given]
        if any(value != values[0] for value in values):
            what = f"{given[1]}: it says the same as {given[0]!r}, and another value; give one of them."
            raise Refused(Problem(400, what, param=given[1]))
        return values[0] if values else None


def _looked_back(tokens: int | None) -> int | None:
    return LOOKED_BACK if tokens == -1 else tokens


def _seed(seed: int | None) -> int | None:
    """Bring a seed into 32 bits: OpenAI's have 64 and a sign; -1 is llama.cpp's word for any."""
    return None if seed is None or seed == -1 else seed % RANDOM_SEED


def _stops(stop: str | Sequence[str | None] | None) -> tuple[str, ...] | None:
    """Return the texts that end an answer; empty ones end nothing."""
    texts = [stop] if isinstance(stop, str) else stop or []
    return tuple(text for text in texts if text) or None


def _biases(biases: Mapping[str, float] | Sequence[Sequence[Any]] | None) -> dict[int, float] | None:
    """Read token ids from the keys of a JSON object, or from pairs, where false forbids a token as in llama.cpp."""
    if not biases:
        return None
    if isinstance(biases, Mapping):
        return {_token_id(key): bias for key, bias in biases.items()}
    return dict(map(_pair, biases))


def _token_id(key: str) -> int:
    if not (key.isascii() and key.isdecimal() and len(key) < 10):
        raise Refused(Problem(400, f"logit_bias: {key[:40]!r} is no token id.", param="logit_bias"))
    return int(key)


def _pair(pair: Sequence[Any]) -> tuple[int, float]:
    match pair:
        case [int(token), False] if not isinstance(token, bool):
            return token, BIAS.minimum
        case [int(token), int() | float() as bias] if not isinstance(token, bool) and math.isfinite(bias):
            return token, bias
    what = "a list of biases holds pairs of a token id and a number, or false"
    raise Refused(Problem(400, f"logit_bias: {what}.", param="logit_bias"))
