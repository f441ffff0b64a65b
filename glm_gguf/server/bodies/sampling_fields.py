"""The sampling fields that chat and text completions share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from sys import float_info
from typing import Annotated, Any

from pydantic import Field

from glm_gguf.llama.sampling_params import BIAS, DRY_BOUNDS, RANDOM_SEED, SAMPLING_BOUNDS, Dry, SamplingParams
from glm_gguf.server.bodies.wire import Count, Cut, Length, Whole, WireRequest, within
from glm_gguf.server.problem import Problem, Refused

SAME_NAMES = ("temperature", "top_p", "top_k", "min_p", "frequency_penalty", "presence_penalty", "ignore_eos")
LOOKED_BACK = int(SAMPLING_BOUNDS["penalty_last_n"].maximum)
"""Largest window of the penalties: the whole answer."""

BiasValue = Annotated[float, within(BIAS)]
Temperature = Annotated[float, within(SAMPLING_BOUNDS["temperature"])]
Probability = Annotated[float, within(SAMPLING_BOUNDS["top_p"])]
LeastProbability = Annotated[float, within(SAMPLING_BOUNDS["min_p"])]
LogprobCount = Annotated[int, within(SAMPLING_BOUNDS["logprobs"])]
RepeatPenalty = Annotated[float, within(SAMPLING_BOUNDS["repeat_penalty"], minimum=0)]
Back = Annotated[Whole, within(SAMPLING_BOUNDS["penalty_last_n"], minimum=-1)]


class DryFields(WireRequest):
    """llama.cpp's fields for DRY, which penalises tokens that prolong a repetition."""

    dry_multiplier: Annotated[float, within(DRY_BOUNDS["multiplier"])] | None = None
    """Strength of DRY, which penalises tokens that prolong a repetition; 0 is off."""
    dry_base: Annotated[float, within(DRY_BOUNDS["base"])] | None = None
    """Factor by which the penalty grows with every repeated token."""
    dry_allowed_length: Annotated[Whole, within(DRY_BOUNDS["allowed_length"])] | None = None
    """Longest repetition without a penalty, in tokens."""
    dry_penalty_last_n: Back | None = None
    """Window of DRY in tokens of the answer; -1 is all, 0 none."""
    dry_sequence_breakers: list[Annotated[str, Field(min_length=1)]] | None = None
    """Texts that end a repetition."""

    def dry(self) -> Dry | None:
        """Return the fields as Dry; None without a multiplier."""
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
    """OpenAI's fields, and top_k, min_p, penalties and DRY under the names of most local servers."""

    temperature: Temperature | None = None
    """0 always takes the most likely token."""
    top_p: Probability | None = None
    """Only the most likely tokens that together reach this probability."""
    top_k: Cut | None = None
    """Only the k most likely tokens; 0 and -1 are all."""
    min_p: LeastProbability | None = None
    """Only tokens with at least this fraction of the highest probability."""
    repeat_penalty: RepeatPenalty | None = None
    """Divides the logits of tokens that the answer already holds; 1 and 0 turn it off."""
    repetition_penalty: RepeatPenalty | None = None
    """vLLM's name for `repeat_penalty`."""
    penalty_last_n: Back | None = None
    """Window of the penalties in tokens of the answer; -1 is all."""
    repeat_last_n: Back | None = None
    """llama.cpp's name for `penalty_last_n`."""
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    """Subtracted from a token's logit for every occurrence in the answer."""
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    """Subtracted from a token's logit once if the answer holds it."""
    seed: Whole | None = None
    """-1 chooses a random one."""
    logit_bias: dict[str, BiasValue] | list[list[Any]] | None = None
    """Token id → value added to its logit; or a list of such pairs."""
    stop: str | list[str | None] | None = None
    """One text or several; the answer ends before the first occurrence."""
    stop_sequences: list[str] | None = None
    """Anthropic's name for `stop`."""
    max_tokens: Length | None = None
    """Maximum number of tokens of an answer; -1 is no limit."""
    n_predict: Length | None = None
    """llama.cpp's name for `max_tokens`."""
    num_predict: Length | None = None
    """Ollama's name for it."""
    max_new_tokens: Length | None = None
    """transformers' name for it."""
    max_output_tokens: Length | None = None
    """Its name in OpenAI's Responses."""
    n: Count | None = None
    """Number of answers to one prompt."""
    ignore_eos: bool | None = None
    """The model does not stop before max_tokens; for benchmarks."""
    lora: dict[str, float] | None = None
    """Name of a LoRA adapter of the server → its scale; all others are off."""
    timeout: Annotated[float, Field(gt=0)] | None = None
    """Seconds after which the answer ends as it is; before its first token the request fails with 408."""

    def sampling(self, **others: Any) -> SamplingParams:
        """Return the fields as SamplingParams; `others` are further fields of it."""
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
        """Return the maximum number of tokens, under any of its names."""
        most: int | None = self.one_of("max_tokens", "n_predict", "num_predict", "max_new_tokens", "max_output_tokens")
        return most

    def one_of(self, *names: str) -> Any:
        """Return the value of a field with several names; Refused if two of them disagree."""
        given = [name for name in names if getattr(self, name) is not None]
        values = [getattr(self, name) for name in given]
        if any(value != values[0] for value in values):
            what = f"{given[1]}: it sets the same as {given[0]!r}, to another value; give only one of them."
            raise Refused(Problem(400, what, param=given[1]))
        return values[0] if values else None


def _looked_back(tokens: int | None) -> int | None:
    return LOOKED_BACK if tokens == -1 else tokens


def _seed(seed: int | None) -> int | None:
    """Reduce a seed to 32 bits: OpenAI's are signed 64-bit integers. -1 is llama.cpp's random seed."""
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
        raise Refused(Problem(400, f"logit_bias: {key[:40]!r} is not a token id.", param="logit_bias"))
    return int(key)


def _pair(pair: Sequence[Any]) -> tuple[int, float]:
    match pair:
        case [int(token), False] if not isinstance(token, bool):
            return token, BIAS.minimum
        case [int(token), int() | float() as bias] if not isinstance(token, bool) and abs(bias) <= float_info.max:
            return token, bias
    what = "a list of biases holds pairs of a token id and a number, or false"
    raise Refused(Problem(400, f"logit_bias: {what}.", param="logit_bias"))
