"""Constraints, thinking budgets and stop texts hold, and change nothing else."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from engine.conversations import EXACT, GREEDY, Bench, Reply

from glm_gguf.answers.answer_reader import AnswerReader
from glm_gguf.answers.stop_text_filter import StopTextFilter
from glm_gguf.answers.thought_budget import CLOSING_TEXT, ThoughtBudget
from glm_gguf.chat.events import Event, ReasoningDelta, TextDelta, Usage, collect
from glm_gguf.chat.expected_form import ExpectedForm
from glm_gguf.chat.token_parser import TokenParser
from glm_gguf.engine.constraint import mask_words
from glm_gguf.engine.delivery import AnswerFailed, Ended, SampledToken
from glm_gguf.engine.logprobs import log_probabilities
from glm_gguf.engine.request import Request
from glm_gguf.errors import EngineError
from glm_gguf.llama.model_handle import ModelHandle
from glm_gguf.llama.sampling_params import Dry, SamplingParams

PROMPT = list(range(40, 80))


@pytest.fixture
def bench(exact_model: ModelHandle) -> Iterator[Bench]:
    with Bench(exact_model, EXACT) as made:
        yield made


class Script:
    """A constraint that follows a script: an int is forced, a set is allowed, None leaves it open."""

    def __init__(self, n_vocab: int, script: list[int | set[int] | None]) -> None:
        self.n_vocab = n_vocab
        self.script = script
        self.taken: list[int] = []

    @property
    def finished(self) -> bool:
        return len(self.taken) == len(self.script)

    def forced(self) -> list[int]:
        tokens = []
        for step in self.script[len(self.taken) :]:
            if not isinstance(step, int):
                break
            tokens.append(step)
        return tokens

    def allowed(self) -> np.ndarray | None:
        step = self.script[len(self.taken)]
        assert not isinstance(step, int)
        if step is None:
            return None
        mask = np.zeros(mask_words(self.n_vocab), np.uint32)
        for token in step:
            mask[token // 32] |= np.uint32(1 << token % 32)
        return mask

    def accept(self, token: int) -> None:
        self.taken.append(token)


def steered(bench: Bench, script: list[int | set[int] | None], sampling: SamplingParams = GREEDY) -> Reply:
    return bench.answer(PROMPT, sampling, Script(bench.model.vocabulary.size, script))


def test_only_allowed_tokens_are_drawn_and_forced_ones_are_not_drawn(bench: Bench) -> None:
    reply = steered(bench, [5, 6, {7, 8}, 9, {10}, 11, 12, {31, 32, 63}])
    first, second = reply.tokens[2], reply.tokens[-1]
    assert reply.tokens == [5, 6, first, 9, 10, 11, 12, second]
    assert first in {7, 8}
    assert second in {31, 32, 63}
    assert reply.end == Ended("stop")
    assert bench.scheduler.steps == 3


@pytest.mark.parametrize("sampling", [GREEDY, SamplingParams(temperature=2, top_p=0.9, top_k=40, min_p=0.01, seed=1)])
def test_a_mask_holds_however_tokens_are_drawn(bench: Bench, sampling: SamplingParams) -> None:
    reply = steered(bench, [{101, 202, 303}] * 20, replace(sampling, repeat_penalty=1.5))
    assert set(reply.tokens) <= {101, 202, 303}
    assert len(reply.tokens) == 20


def test_what_is_left_open_is_as_without_a_constraint(bench: Bench) -> None:
    free = bench.answer(PROMPT, replace(GREEDY, max_tokens=6)).tokens
    assert steered(bench, [None] * 6).tokens == free
    assert steered(bench, [free[0], free[1], None, None, None, None]).tokens == free


def test_a_constraint_that_allows_nothing_ends_its_answer_alone(bench: Bench) -> None:
    good, _ = bench.ask(PROMPT)
    bad = steered(bench, [None, set()])
    assert isinstance(bad.end, AnswerFailed)
    assert good.end == Ended("length")


def test_a_thought_is_closed_when_its_budget_is_spent(bench: Bench) -> None:
    vocabulary = bench.model.vocabulary
    closing = vocabulary.plain_ids(CLOSING_TEXT)
    free = bench.answer(PROMPT).tokens
    budget = ThoughtBudget(5, closing, vocabulary.token_bytes)
    tokens = bench.answer(PROMPT, GREEDY, budget).tokens
    start = next(index for index in range(5, 9) if tokens[index : index + len(closing)] == closing)
    assert tokens[:start] == free[:start]
    assert len(tokens) == GREEDY.max_tokens


def test_a_thought_that_ends_in_time_is_left_alone(bench: Bench) -> None:
    vocabulary = bench.model.vocabulary
    budget = ThoughtBudget(30, [1, 2, 3], vocabulary.token_bytes)
    for token in vocabulary.plain_ids("So it is.\n</think>\n" + "The answer is long. " * 20):
        assert budget.forced() == []
        budget.accept(token)


def test_a_budget_never_cuts_a_character(bench: Bench) -> None:
    budget = ThoughtBudget(1, [1, 2], {1: "你".encode()[:2], 2: "你".encode()[2:]}.__getitem__)
    budget.accept(1)
    assert budget.forced() == []
    budget.accept(1)  # the character goes on beyond the budget
    assert budget.fit_draft([2, 2]) == []
    budget.accept(2)
    assert budget.forced() == [1, 2]
    assert budget.forced() == []


STOPS = {
    "in one piece": (["a STOP b"], ("STOP",), "a "),
    "in pieces": (["a ST", "O", "P b"], ("STOP",), "a "),
    "only begun": (["a ST", "ART"], ("STOP",), "a START"),
    "at the end": (["a STO"], ("STOP",), "a STO"),
    "the first of two": (["x END STOP"], ("STOP", "END"), "x "),
    "begun within itself": (["aaab"], ("aab",), "a"),
    "none": (["a", "b"], (), "ab"),
}


@pytest.mark.parametrize(("pieces", "stops", "expected"), STOPS.values(), ids=STOPS.keys())
def test_stop_texts(pieces: list[str], stops: tuple[str, ...], expected: str) -> None:
    filter_ = StopTextFilter(stops)
    events: list[Event] = [event for piece in pieces for event in filter_.feed(TextDelta(piece))]
    events += filter_.flush()
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == expected
    written = "".join(pieces)
    assert filter_.found == (
        None if expected == written else next(s for s in stops if written.startswith(expected + s))
    )


def test_the_tokens_of_a_thought_are_counted(exact_model: ModelHandle) -> None:
    vocabulary = exact_model.vocabulary
    thought, answer = vocabulary.plain_ids("So it is.</think>"), vocabulary.plain_ids("Yes, it is.")
    reader = TokenParser(vocabulary.token_bytes, vocabulary.role_marks, ExpectedForm(starts_in_thought=True))
    written = AnswerReader(reader, vocabulary.token_bytes, Request((1,), SamplingParams()))
    deliveries = [*(SampledToken(token) for token in thought + answer), Ended("stop")]
    result = collect(event for delivery in deliveries for event in written.feed(delivery))
    assert (result.reasoning, result.content) == ("So it is.", "Yes, it is.")
    assert result.usage == Usage(1, 0, len(thought) + len(answer), len(thought))


def test_a_thought_may_hold_a_stop_text() -> None:
    filter_ = StopTextFilter(("STOP",))
    assert list(filter_.feed(ReasoningDelta("STOP"))) == [ReasoningDelta("STOP")]
    assert not filter_.found


def test_log_probabilities_are_those_of_a_softmax() -> None:
    logits = np.array([1.0, 3.0, 2.0, -5.0], np.float32)
    expected = np.log(np.exp(logits) / np.exp(logits).sum())
    logprob, likeliest = log_probabilities(logits, 2, 2)
    assert logprob == pytest.approx(expected[2], abs=1e-6)
    assert [token for token, _ in likeliest] == [1, 2]
    assert [value for _, value in likeliest] == pytest.approx([expected[1], expected[2]], abs=1e-6)


@pytest.mark.parametrize(
    "sampling",
    [
        replace(GREEDY, frequency_penalty=2.0, presence_penalty=2.0),
        replace(GREEDY, repeat_penalty=5.0, penalty_last_n=1000),
        replace(GREEDY, dry=Dry(multiplier=50, allowed_length=0)),
    ],
    ids=["frequency", "repeat", "DRY"],
)
def test_penalties_change_an_answer_that_repeats_itself(bench: Bench, sampling: SamplingParams) -> None:
    long = replace(sampling, max_tokens=120)
    plain = bench.answer(PROMPT, replace(GREEDY, max_tokens=120)).tokens
    penalised = bench.answer(PROMPT, long).tokens
    assert len(set(penalised)) > len(set(plain))


def test_a_bias_forbids_and_favours(bench: Bench) -> None:
    first = bench.answer(PROMPT).tokens[0]
    assert bench.answer(PROMPT, replace(GREEDY, logit_bias={first: -100})).tokens[0] != first
    assert bench.answer(PROMPT, replace(GREEDY, logit_bias={77: 100})).tokens == [77] * 24


def test_biases_that_leave_nothing_end_the_answer(bench: Bench) -> None:
    script = Script(bench.model.vocabulary.size, [{77}])
    end = bench.answer(PROMPT, replace(GREEDY, logit_bias={77: -100}), script).end
    assert isinstance(end, AnswerFailed)
    assert "biases forbid" in str(end.error)


def test_a_seed_repeats_the_draws(bench: Bench) -> None:
    drawn = [
        bench.answer(PROMPT, SamplingParams(temperature=2, top_p=1, seed=seed, max_tokens=12)).tokens
        for seed in (7, 7, 8)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_mask_of_another_vocabulary_is_refused(bench: Bench) -> None:
    class Wrong(Script):
        def allowed(self) -> np.ndarray:
            return np.zeros(3, np.uint32)

    end = bench.answer(PROMPT, GREEDY, Wrong(1, [None])).end
    assert isinstance(end, AnswerFailed)
    assert isinstance(end.error, EngineError)
