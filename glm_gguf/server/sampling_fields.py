"""Fields of requests that say how tokens are drawn, as chat and text completions share them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from glm_gguf.engine.sampling import RANDOM_SEED, SamplingParams
from glm_gguf.server.errors import Problem, Refused
from glm_gguf.server.wire import Count, WireRequest

SAME_NAMES = ("temperature", "top_p", "top_k", "min_p", "repeat_penalty", "frequency_penalty", "presence_penalty")


class SamplingFields(WireRequest):
    """OpenAI's, and top_k, min_p and repeat_penalty as most local servers have them."""

    temperature: Annotated[float, Field(ge=0, le=100)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repeat_penalty: Annotated[float, Field(ge=0.01, le=100)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: int | None = None
    """-1 draws one."""
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
    stop: str | list[str] | None = None
    max_tokens: Count | None = None
    n: Count | None = None
    ignore_eos: bool | None = None
    """Write up to max_tokens; for measurements."""
    lora: dict[str, float] | None = None
    """Name of a LoRA adapter of the server's → its scale; adapters that are not named are off."""
    timeout: Annotated[float, Field(gt=0)] | None = None
    """Seconds after which the answer ends as it is; before its first token it is an error, 408."""

    def sampling(self, **others: Any) -> SamplingParams:
        """Say it in the model's own value; `others` are fields of that."""
        given = {name: getattr(self, name) for name in SAME_NAMES}
        return SamplingParams(
            **given,
            seed=_seed(self.seed),
            logit_bias=_biases(self.logit_bias),
            stop=_stops(self.stop),
            ignore_eos=self.ignore_eos,
            **others,
        )


def _seed(seed: int | None) -> int | None:
    """Bring a seed into 32 bits: OpenAI's have 64 and a sign; -1 is llama.cpp's word for any."""
    return None if seed is None or seed == -1 else seed % RANDOM_SEED


def _stops(stop: str | list[str] | None) -> tuple[str, ...] | None:
    """Return the texts that end an answer; empty ones end nothing."""
    texts = [stop] if isinstance(stop, str) else stop or []
    return tuple(text for text in texts if text) or None


def _biases(biases: Mapping[str, float] | None) -> dict[int, float] | None:
    """Read token ids from the keys of a JSON object."""
    if not biases:
        return None
    for key in biases:
        if not (key.isascii() and key.isdecimal() and len(key) < 10):
            raise Refused(Problem(400, f"logit_bias: {key[:40]!r} is no token id.", param="logit_bias"))
    return {int(key): bias for key, bias in biases.items()}
