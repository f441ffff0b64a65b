"""A table of outputs, each read whole, cut at every byte and cut at random."""

from itertools import chain, repeat
from random import Random

import pytest

from glm_gguf.chat.events import ChatResult, FinishReason, collect
from glm_gguf.chat.spelled_text import parse_answer
from tests.chat.answer_cases import CASES, Case
from tests.chat.cutting import WHOLE, feed_in_pieces

PARAMETERS = [pytest.param(case, id=name) for name, case in CASES.items()]


def expected(case: Case) -> ChatResult:
    reason: FinishReason = "tool_calls" if case.calls else "stop"
    return ChatResult(case.content, case.reasoning, case.calls, reason)


@pytest.mark.parametrize("case", PARAMETERS)
def test_it_reads_as_meant(case: Case) -> None:
    assert parse_answer(case.text, case.form) == expected(case)


@pytest.mark.parametrize("case", PARAMETERS)
def test_it_reads_the_same_cut_at_every_byte(case: Case) -> None:
    whole = feed_in_pieces(case.text, case.form, repeat(WHOLE))
    assert collect(whole) == expected(case)
    for position in range(1, len(case.text.encode())):
        assert feed_in_pieces(case.text, case.form, chain([position], repeat(WHOLE))) == whole, position
    assert feed_in_pieces(case.text, case.form, repeat(1)) == whole


@pytest.mark.parametrize("case", PARAMETERS)
def test_it_reads_the_same_cut_at_random(case: Case) -> None:
    random = Random(case.text)
    whole = feed_in_pieces(case.text, case.form, repeat(WHOLE))
    for longest in (2, 3, 5, 8, 13):
        lengths = (random.randint(1, longest) for _ in repeat(None))
        assert feed_in_pieces(case.text, case.form, lengths) == whole
