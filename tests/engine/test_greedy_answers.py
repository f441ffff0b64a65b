"""The engine's greedy answers are those that it gives on x86-64, on every processor.

Recorded prompts are free of near ties (scripts/record_greedy_answers.py): no token was best by less than 0.1.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from engine.conversations import EXACT
from engine.greedy_answers import N_CTX, greedy_answer

from glm_gguf import GLM

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
RECORDED = json.loads((GOLDEN / "greedy_answers.json").read_text("utf-8"))
TOOLS = json.loads((GOLDEN / "tiny_heldout.json").read_text("utf-8"))["tools"]
MARGIN = 1e-3
"""Largest difference between two processors in a gap of the best two logits: a hundredth of the least gap."""


@pytest.fixture(scope="module")
def glm(tiny_gguf: Callable[[str], Path]) -> Iterator[GLM]:
    with GLM(tiny_gguf("F32"), n_ctx=N_CTX, options=EXACT) as opened:
        yield opened


@pytest.mark.parametrize("number", range(len(RECORDED)))
def test_a_greedy_answer_is_that_of_x86_64(glm: GLM, number: int) -> None:
    recorded = RECORDED[number]
    answer = greedy_answer(glm, recorded["messages"], [TOOLS[name] for name in recorded["tools"]])
    assert answer.text == recorded["text"]
    assert answer.gaps == pytest.approx(recorded["gaps"], abs=MARGIN)


def test_no_recorded_answer_is_near_a_tie() -> None:
    assert len(RECORDED) == 50
    assert len({each["text"] for each in RECORDED}) > 40
    assert all(min(each["gaps"]) > 100 * MARGIN for each in RECORDED)
