"""How often two models make the same tool calls of the same requests, both with greedy sampling."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.llama.sampling_params import SamplingParams
from glm_gguf.model import GLM
from glm_gguf.quality.on_step import OnStep
from glm_gguf.quality.text_data import Dialogue

ANSWER_TOKENS: Final = 512
Calls = tuple[tuple[str, Any], ...]
"""Name and arguments of each call of an answer."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A request whose calls differ: its number from 1, and the calls of the reference and of the model."""

    number: int
    reference: Calls
    model: Calls


@dataclass(frozen=True, slots=True)
class CallAgreement:
    """Of how many requests the names of the calls agree, and of how many the arguments too."""

    n_requests: int
    n_calling: int
    """Requests that the reference answers with calls."""
    n_same_names: int
    n_same: int
    disagreements: tuple[Disagreement, ...]

    @classmethod
    def of(cls, reference: Sequence[Calls], model: Sequence[Calls]) -> Self:
        """Compare the answers to the same requests; order and form of JSON do not count, its values do."""
        pairs = list(zip(reference, model, strict=True))
        different = [Disagreement(number, *pair) for number, pair in enumerate(pairs, 1) if pair[0] != pair[1]]
        same_names = sum(_names(ours) == _names(theirs) for ours, theirs in pairs)
        return cls(len(pairs), sum(map(bool, reference)), same_names, len(pairs) - len(different), tuple(different))

    @property
    def differing_share(self) -> float:
        """Share of the requests whose calls differ in any way."""
        return 1 - self.n_same / self.n_requests


def made_calls(path: Path, requests: Sequence[Dialogue], options: EngineOptions, on_step: OnStep) -> tuple[Calls, ...]:
    """Ask a model each request; raises GlmGgufError for a request that it cannot read."""
    return tuple(_answers(path, requests, replace(options, n_parallel=1, n_host_cache=0), on_step))


def _answers(path: Path, requests: Sequence[Dialogue], options: EngineOptions, on_step: OnStep) -> Iterator[Calls]:
    greedy = SamplingParams(temperature=0, max_tokens=ANSWER_TOKENS)
    with GLM(path, options=options) as glm:
        on_step(0, len(requests))
        for number, request in enumerate(requests, 1):
            answer = glm.chat(list(request.messages), list(request.tools), greedy)
            yield tuple((call.name, json.loads(call.arguments)) for call in answer.tool_calls)
            on_step(number, len(requests))


def _names(calls: Calls) -> tuple[str, ...]:
    return tuple(name for name, _ in calls)
