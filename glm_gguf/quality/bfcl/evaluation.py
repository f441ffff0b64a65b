"""A model asked all questions of the Berkeley data, many at once, and its scores."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from glm_gguf.answers.accepted_keywords import SamplingLike, options_value
from glm_gguf.answers.prepared_answer import EventStream
from glm_gguf.chat.events import collect
from glm_gguf.errors import RequestError, TemplateError
from glm_gguf.llama.sampling_params import SamplingParams
from glm_gguf.quality.bfcl.answers_file import AnswersFile, CaseAnswer
from glm_gguf.quality.bfcl.ast_match import is_right
from glm_gguf.quality.bfcl.cases import BerkeleyData, Case, Category
from glm_gguf.quality.bfcl.declarations import declaration
from glm_gguf.variant import Variant

if TYPE_CHECKING:
    from glm_gguf.model import GLM

ANSWER_TOKENS: Final = 4096
"""Tokens of an answer at most, as Berkeley's program allows; but half of the context, which all answers share."""
AHEAD: Final = 32
"""Questions under way or in the engine's queue: it never waits for one."""
NON_LIVE: Final = ("simple", "multiple", "parallel", "parallel_multiple")
LIVE: Final = tuple(f"live_{name}" for name in NON_LIVE)


@dataclass(frozen=True, slots=True)
class CategoryScore:
    """How many answers of a category are right."""

    name: str
    right: int
    total: int
    refused: int = 0
    """Questions that could not be asked, such as too long ones: they count as wrong."""

    @property
    def accuracy(self) -> float:
        """The share of right answers."""
        return self.right / self.total


@dataclass(frozen=True, slots=True)
class BerkeleyScore:
    """The scores of all categories."""

    categories: tuple[CategoryScore, ...]
    left_out: tuple[tuple[str, str], ...]
    """Categories that were not evaluated, and why."""

    @property
    def non_live(self) -> float | None:
        """The mean of the four AST categories, as on the leaderboard, but with Python's `simple` alone."""
        found = [one.accuracy for one in self.categories if one.name in NON_LIVE]
        return sum(found) / len(NON_LIVE) if len(found) == len(NON_LIVE) else None

    @property
    def live(self) -> float | None:
        """The share of right answers in the four live AST categories together."""
        found = [one for one in self.categories if one.name in LIVE]
        right, total = sum(one.right for one in found), sum(one.total for one in found)
        return right / total if len(found) == len(LIVE) else None


class BerkeleyEvaluation:
    """Asks a model the questions: iterate over `answers()`, then read `score`.

    `path` keeps the answers as JSON lines; a run goes on from it. Temperature is 0 unless `sampling` has one.
    """

    def __init__(self, glm: GLM, data: BerkeleyData, sampling: SamplingLike = None, path: Path | None = None) -> None:
        if glm.variant is Variant.BASE:
            raise RequestError("a base model calls no functions", field="file", fix="use a chat or Z1 model")
        self._glm = glm
        self._data = data
        self._sampling = _filled(options_value(SamplingParams, sampling, "sampling"), glm.n_ctx)
        self._path = path
        self._answers: Mapping[str, CaseAnswer] = {}

    def answers(self) -> Iterator[CaseAnswer]:
        """Ask the questions that have no answer yet, and yield the answers, those of an earlier run first."""
        conditions = {"model": self._glm.fingerprint(), "sampling": _written(self._sampling)}
        cases = list(chain.from_iterable(category.cases for category in self._data.categories))
        with AnswersFile(self._path, conditions) as file:
            self._answers = file.answers
            asked = [case for case in cases if case.id not in file.answers]
            yield from (file.answers[case.id] for case in cases if case.id in file.answers)
            for answer in self._asked(asked):
                file.add(answer)
                yield answer

    @property
    def score(self) -> BerkeleyScore:
        """The scores; every question has its answer."""
        scores = tuple(_score(category, self._answers) for category in self._data.categories)
        return BerkeleyScore(scores, self._data.left_out)

    def _asked(self, cases: Sequence[Case]) -> Iterator[CaseAnswer]:
        """Yield answers in the order of the questions; the next ones are under way meanwhile."""
        under_way: deque[tuple[Case, EventStream | str]] = deque()
        try:
            for case in cases:
                under_way.append((case, self._begun(case)))
                if len(under_way) > AHEAD:
                    yield _ended(*under_way.popleft())
            while under_way:
                yield _ended(*under_way.popleft())
        finally:
            for _, stream in under_way:
                if not isinstance(stream, str):
                    stream.close()

    def _begun(self, case: Case) -> EventStream | str:
        """Begin the answer to a case, or say why the model cannot be asked."""
        try:
            return self._glm.stream(list(case.messages), [declaration(one) for one in case.functions], self._sampling)
        except (RequestError, TemplateError) as error:
            return str(error)


def _ended(case: Case, stream: EventStream | str) -> CaseAnswer:
    if isinstance(stream, str):
        return CaseAnswer(case.id, refused=stream)
    with stream as events:
        return CaseAnswer.of(case.id, collect(events))


def _score(category: Category, answers: Mapping[str, CaseAnswer]) -> CategoryScore:
    right = refused = 0
    for case in category.cases:
        answer = answers[case.id]
        refused += answer.refused is not None
        right += answer.refused is None and is_right(category.name, case, answer.decoded)
    return CategoryScore(category.name, right, len(category.cases), refused)


def _filled(sampling: SamplingParams, n_ctx: int) -> SamplingParams:
    defaults = SamplingParams(temperature=0.0, max_tokens=min(ANSWER_TOKENS, n_ctx // 2))
    return sampling.filled(defaults)


def _written(sampling: SamplingParams) -> dict[str, Any]:
    return {name: value for name, value in dataclasses.asdict(sampling).items() if value not in (None, (), {})}
