"""The bundled model answers held-out requests right, with greedy sampling and a Q8_0 file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from glm_gguf import GLM, ChatResult, SamplingParams
from glm_gguf.llama.engine_options import EngineOptions

GOLDEN = json.loads((Path(__file__).parent / "golden" / "tiny_heldout.json").read_text("utf-8"))
GREEDY = SamplingParams(temperature=0, max_tokens=120)


@dataclass(frozen=True)
class Outcome:
    """The calls and the answer to one request."""

    request: dict[str, Any]
    calls: ChatResult
    answer: ChatResult | None
    """The answer to the observations; None if the calls were wrong."""

    @property
    def called(self) -> bool:
        return made(self.calls) == [(call["name"], call["arguments"]) for call in self.request["calls"]]

    @property
    def answered(self) -> bool:
        if self.answer is None or self.answer.tool_calls:
            return False
        return all(fact in self.answer.content for fact in self.request["facts"])


def made(result: ChatResult) -> list[tuple[str, Any]]:
    return [(call.name, json.loads(call.arguments)) for call in result.tool_calls]


def outcome(glm: GLM, request: dict[str, Any]) -> Outcome:
    """Ask; if the calls are right, add the observations and take the answer."""
    tools = [GOLDEN["tools"][name] for name in request["tools"]]
    calls = glm.chat(request["messages"], tools, GREEDY)
    outcome = Outcome(request, calls, None)
    if not outcome.called:
        return outcome
    observations = [{"role": "tool", "content": text} for text in request["observations"]]
    return Outcome(request, calls, glm.chat([*request["messages"], calls.message(), *observations], tools, GREEDY))


@pytest.fixture(scope="module")
def outcomes(tiny_gguf: Callable[[str], Path]) -> Iterator[list[Outcome]]:
    with GLM(tiny_gguf("Q8_0"), n_ctx=2048, options=EngineOptions(threads=1)) as glm:
        yield [outcome(glm, request) for request in GOLDEN["requests"]]


def test_at_least_95_of_100_held_out_requests_get_the_right_calls(outcomes: list[Outcome]) -> None:
    wrong = [(each.request["messages"][-1]["content"], made(each.calls)) for each in outcomes if not each.called]
    assert len(outcomes) == 100
    assert len(wrong) <= 5, wrong


def test_a_request_about_two_things_gets_two_calls(outcomes: list[Outcome]) -> None:
    double = [each for each in outcomes if len(each.request["calls"]) == 2]
    assert len(double) >= 20
    assert sum(len(each.calls.tool_calls) == 2 for each in double) >= 0.95 * len(double)


def test_at_least_90_of_100_answers_tell_what_was_observed(outcomes: list[Outcome]) -> None:
    wrong = [
        (each.request["messages"][-1]["content"], each.answer and each.answer.content)
        for each in outcomes
        if not each.answered
    ]
    assert len(wrong) <= 10, wrong
