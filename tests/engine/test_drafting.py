"""Drafts are verified: answers are those of plain decoding, in fewer steps where the text repeats."""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from engine.conversations import EXACT, GREEDY, PLAIN, Bench, random_prompts
from hypothesis import given, settings
from hypothesis import strategies as st

from glm_gguf.engine.batch_curve import MOST_ROWS, BatchCurve
from glm_gguf.engine.constraint import mask_words
from glm_gguf.engine.delivery import DraftVerified, SampledToken
from glm_gguf.engine.draft import Acceptance, Draft
from glm_gguf.engine.draft_length import DraftLength
from glm_gguf.engine.ngram_lookup import LENGTH, LONGEST, Match, NgramLookup
from glm_gguf.errors import RequestError
from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.llama.model_handle import ModelHandle
from glm_gguf.llama.sampling_params import Dry, SamplingParams
from scripts import check_drafting

SAMPLED = SamplingParams(temperature=1.0, top_p=0.95, seed=11, max_tokens=40, ignore_eos=True)
PENALISED = replace(SAMPLED, repeat_penalty=1.1, frequency_penalty=0.2, dry=Dry(), logit_bias={5: 3.0})


class Text:
    """A constraint that allows one text, and forces nothing: a model of no sense writes it by one draw a token."""

    def __init__(self, tokens: Sequence[int], n_vocab: int) -> None:
        self._tokens = tokens
        self._n_vocab = n_vocab
        self._taken = 0

    @property
    def finished(self) -> bool:
        return self._taken == len(self._tokens)

    def allowed(self) -> np.ndarray:
        mask = np.zeros(mask_words(self._n_vocab), np.uint32)
        token = self._tokens[self._taken]
        mask[token // 32] = 1 << token % 32
        return mask

    def forced(self) -> list[int]:
        return []

    def accept(self, token: int) -> None:
        assert token == self._tokens[self._taken]
        self._taken += 1


class FilteredText(Text):
    """The same, and it cuts drafts."""

    def fit_draft(self, tokens: list[int]) -> list[int]:
        rest = self._tokens[self._taken :]
        wrong = (i for i, token in enumerate(tokens) if i >= len(rest) or rest[i] != token)
        return tokens[: next(wrong, len(tokens))]


@given(st.lists(st.integers(0, 3), max_size=80))
@settings(deadline=None)
def test_the_lookup_finds_what_a_search_finds(tokens: list[int]) -> None:
    seen: list[int] = []
    lookup = NgramLookup(seen)
    for token in tokens:
        seen.append(token)
        found = lookup.find()
        lengths = {end: _common(seen, end) for end in range(LENGTH, len(seen))}
        matching = {end: length for end, length in lengths.items() if length >= LENGTH}
        assert (found is None) == (not matching)
        if found is not None:
            assert matching[found.position] == found.length
            latest = sorted(matching)[-8:]
            assert found.length == max(matching[end] for end in latest)


def _common(tokens: list[int], end: int) -> int:
    length = 0
    while length < min(end, LONGEST) and tokens[end - 1 - length] == tokens[-1 - length]:
        length += 1
    return length


def test_a_copy_goes_on_with_itself() -> None:
    lookup = NgramLookup([7, 1, 2, 3, 1, 2, 3])
    assert lookup.find() == Match(4, LENGTH)
    assert lookup.copied(Match(4, LENGTH), 7) == [1, 2, 3, 1, 2, 3, 1]


def test_the_curve_lies_between_its_measurements_and_is_forgotten() -> None:
    curve = BatchCurve()
    assert curve.reach == 0
    curve.note(1, 1.0)
    assert (curve.seconds(4), curve.reach) == (1.0, 4)
    curve.note(4, 1.3)
    assert curve.seconds(2) == pytest.approx(1.1)
    assert curve.seconds(8) == pytest.approx(1.7)
    assert curve.reach == 8
    for _ in range(300):
        curve.note(1, 1.0)
    assert curve.reach == 4


def test_a_batch_that_other_processes_held_up_does_not_change_the_curve() -> None:
    curve = BatchCurve()
    for seconds in (1.0, 1.1, 50.0, 1.2):
        curve.note(2, seconds)
    assert curve.seconds(2) == 1.0
    for _ in range(4):
        curve.note(2, 3.0)
    assert curve.seconds(2) == 3.0


@pytest.mark.parametrize(
    ("curve", "right", "expected"),
    [
        ({1: 1.0, 2: 1.0, 16: 1.0}, 0.5, 30),
        ({1: 1.0, 2: 2.0, 4: 4.0, 8: 8.0, 16: 16.0, 31: 31.0}, 0.9, 0),
        ({1: 1.0, 4: 1.04, 8: 3.0}, 0.5, 3),
        ({1: 1.0, 4: 1.04, 8: 1.9, 16: 2.0, 31: 4.0}, 0.98, 15),
    ],
    ids=["rows cost nothing", "each row costs a step", "eight rows are dear", "sixteen rows cost what nine do"],
)
def test_a_draft_is_as_long_as_pays(curve: dict[int, float], right: float, expected: int) -> None:
    length = DraftLength("auto")
    for rows, seconds in [*curve.items()] * 2:
        length.curve.note(rows, seconds)
    assert length.count_that_pays([right**i for i in range(1, MOST_ROWS)], 1, alone=True) == expected


def test_a_size_of_batch_is_tried_where_a_draft_is_likely_right() -> None:
    """Four rows cost what four steps do, sixteen what six do: only a try tells."""
    length, right = DraftLength("auto"), [0.97**i for i in range(1, MOST_ROWS)]
    for rows, seconds in ((1, 1.0), (4, 4.0), (4, 4.0)):
        length.curve.note(rows, seconds)
    assert length.count_that_pays([0.3**i for i in range(1, MOST_ROWS)], 1, alone=True) == 0
    assert length.count_that_pays(right, 1, alone=False) == 0
    tried = []
    while len(tried) < 6:
        tried.append(1 + length.count_that_pays(right, 1, alone=True))
        length.curve.note(tried[-1], {8: 5.0, 16: 6.0, 31: 21.0}[tried[-1]])
    assert tried == [31, 31, 16, 16, 8, 8]
    assert length.count_that_pays(right, 1, alone=True) == 15


def test_beside_other_answers_only_rows_that_cost_nothing_are_drafted() -> None:
    length = DraftLength("auto")
    for rows, seconds in {4: 1.0, 6: 1.01, 8: 1.5}.items():
        length.curve.note(rows, seconds)
    assert length.count_that_pays([0.9] * 10, 4, alone=False) == 2


def test_acceptance_follows_the_drafts_and_returns_when_they_are_passed_over() -> None:
    acceptance, draft = Acceptance(), Draft([1] * 4, LENGTH)
    for _ in range(20):
        acceptance.note(draft, 0)
    low = acceptance.probability(draft)
    assert low < 0.15
    assert acceptance.probability(Draft([1], LONGEST)) == 0.5
    for _ in range(500):
        acceptance.pass_over(draft)
    assert acceptance.probability(draft) > 0.49


def test_acceptance_learns_from_drafts_that_no_batch_had() -> None:
    acceptance, draft = Acceptance(), Draft([1] * 4, LENGTH)
    for _ in range(60):
        acceptance.watch(draft, right=True)
    assert acceptance.probability(draft) > 0.95
    for _ in range(200):
        acceptance.watch(draft, right=False)
    assert acceptance.probability(draft) < 0.1


@pytest.mark.parametrize("draft", ["auto", 1, 7, 30])
@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED, PENALISED], ids=["greedy", "sampled", "penalised"])
def test_answers_are_those_of_plain_decoding(
    exact_model: ModelHandle, draft: int | str, sampling: SamplingParams
) -> None:
    prompts = random_prompts(exact_model, 12, seed=3)
    with Bench(exact_model, PLAIN) as plain, Bench(exact_model, replace(EXACT, draft=draft, n_parallel=4)) as drafting:
        expected = [plain.answer(prompt, sampling).tokens for prompt in prompts]
        replies = [drafting.ask(prompt, sampling)[0] for prompt in prompts]
        drafting.run()
        assert [reply.tokens for reply in replies] == expected
        status = drafting.scheduler.status
        assert 0 < status.accepted <= status.drafted
        assert plain.scheduler.status.drafted == 0
        drafting.scheduler.cache.clear()
        assert drafting.cells_in_use() == 0


def test_log_probabilities_are_those_of_plain_decoding(exact_model: ModelHandle) -> None:
    sampling = replace(GREEDY, logprobs=3, max_tokens=60)
    prompt = [*range(40, 60), *range(40, 60)]
    with Bench(exact_model, PLAIN) as plain, Bench(exact_model, replace(EXACT, draft=9)) as drafting:
        expected, found = (_sampled(one.answer(prompt, sampling)) for one in (plain, drafting))
        assert drafting.scheduler.status.accepted > 10
    assert [token.token_id for token in found] == [token.token_id for token in expected]
    assert [token.logprob for token in found] == pytest.approx([token.logprob for token in expected], abs=4e-5)


def _sampled(reply: object) -> list[SampledToken]:
    return [item for item in reply.deliveries if isinstance(item, SampledToken)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", [Text, FilteredText])
def test_copied_text_takes_few_steps(exact_model: ModelHandle, kind: type[Text]) -> None:
    generator = random.Random(5)
    passage = [generator.randrange(300, 900) for _ in range(120)]
    copy = [*passage[:50], 17, 18, 19, *passage[40:]]
    sampling = SamplingParams(temperature=0)
    with Bench(exact_model, replace(EXACT, draft=15)) as bench:
        before = bench.scheduler.steps
        reply = bench.answer([*passage, 5, 6, *passage[:3]], sampling, kind(copy[3:], exact_model.vocabulary.size))
        assert reply.tokens == copy[3:]
        assert len(reply.tokens) / (bench.scheduler.steps - before) >= 5
        verified = [item for item in reply.deliveries if isinstance(item, DraftVerified)]
        wasted = sum(item.drafted - item.accepted for item in verified)
        assert (wasted == 0) == (kind is FilteredText)


def test_a_draft_ends_with_the_answer(exact_model: ModelHandle) -> None:
    prompt = [*range(40, 60)] * 3
    with Bench(exact_model, replace(EXACT, draft=30)) as bench:
        for most in range(1, 12):
            assert len(bench.answer(prompt, replace(GREEDY, max_tokens=most)).tokens) == most
        n_ctx = bench.scheduler.cache.n_cells
        long = bench.answer((prompt * 99)[: n_ctx - 5], replace(GREEDY, max_tokens=None))
        assert len(long.tokens) == 6


def test_an_answer_with_a_draft_is_preempted_and_resumed(exact_model: ModelHandle) -> None:
    prompts = [[token, *range(40, 80)] * 2 for token in range(3, 9)]
    sampling = replace(GREEDY, max_tokens=60)
    with Bench(exact_model, PLAIN) as plain:
        expected = [plain.answer(prompt, sampling).tokens for prompt in prompts]
    with Bench(exact_model, replace(EXACT, draft=12, n_ctx=360, n_parallel=6)) as bench:
        replies = [bench.ask(prompt, sampling)[0] for prompt in prompts]
        bench.run()
        assert [reply.tokens for reply in replies] == expected


def _raise(_: list[int]) -> object:
    raise ValueError("over a draft")


@pytest.mark.parametrize(
    ("fit", "told"),
    [
        (_raise, "over a draft"),
        (lambda tokens: "".join(map(str, tokens)), r"fit_draft\(\) returned str"),
        (lambda tokens: [*tokens[:1], 10**9], "not in the vocabulary"),
        (lambda _: [-1], "not in the vocabulary"),
    ],
    ids=["raises", "no list", "a foreign token", "a negative token"],
)
def test_a_constraint_that_fails_over_a_draft_ends_its_answer_alone(
    exact_model: ModelHandle, fit: Callable[[list[int]], object], told: str
) -> None:
    class Broken(Text):
        def fit_draft(self, tokens: list[int]) -> object:
            return fit(tokens)

    with Bench(exact_model, replace(EXACT, draft=4)) as bench:
        n_vocab = exact_model.vocabulary.size
        bad, _ = bench.ask([5, 6, 7, 8] * 3, GREEDY, Broken([5, 6, 7, 8], n_vocab))
        good, _ = bench.ask([5, 6, 7, 8] * 3, GREEDY)
        bench.run()
        error = bad.end.error  # type: ignore[union-attr]
        assert re.search(told, f"{error} {error.__cause__}")
        assert len(good.tokens) == 24
        bench.scheduler.cache.clear()
        assert bench.cells_in_use() == 0


@pytest.mark.parametrize("draft", [-1, 31, "off", 2.5, True, None])
def test_a_wrong_length_is_refused(draft: object) -> None:
    with pytest.raises(RequestError, match="draft"):
        EngineOptions(draft=draft)  # type: ignore[arg-type]


def test_tools_schemas_stop_texts_choices_and_mixes_are_those_of_plain_decoding(tmp_path: Path) -> None:
    cases = [check_drafting.draw(number) for number in range(12)]
    path, options = check_drafting.exact_model(tmp_path)
    plain, _ = check_drafting.answers(path, cases, options)
    drafted, _ = check_drafting.answers(path, cases, replace(options, draft=12))
    for before, after in zip(plain, drafted, strict=True):
        assert all(check_drafting.same(*pair) for pair in zip(before, after, strict=True))
