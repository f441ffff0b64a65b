"""The Berkeley function-calling data: calls are judged as Berkeley's own checker judges them, and runs go on."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Callable
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from research.scripted_engine import scripted

from glm_gguf import GLM, RequestError
from glm_gguf.cli.main import cli
from glm_gguf.quality.bfcl.ast_match import is_right
from glm_gguf.quality.bfcl.cases import CATEGORIES, read_berkeley
from glm_gguf.quality.bfcl.evaluation import BerkeleyEvaluation, CategoryScore
from tests.answers.test_models_of_2024 import model

DATA = Path(__file__).resolve().parents[1] / "golden" / "bfcl"
"""Made questions in the form of the data, and verdicts.jsonl: what bfcl-eval 2026.3.23 says of answers to them."""


def _verdicts() -> dict[str, list[dict[str, Any]]]:
    found = defaultdict(list)
    for line in (DATA / "verdicts.jsonl").read_text("utf-8").splitlines():
        verdict = json.loads(line)
        found[verdict["id"]].append(verdict)
    return found


@pytest.mark.parametrize("name", sorted(CATEGORIES))
def test_calls_are_judged_as_berkeleys_checker_judges_them(name: str) -> None:
    (category,), verdicts = read_berkeley(DATA, [name]).categories, _verdicts()
    judged = [(one, is_right(name, case, one["calls"])) for case in category.cases for one in verdicts[case.id]]
    assert {one["right"] for one, _ in judged} == {True, False}
    assert [one for one, right in judged if right != one["right"]] == []


@pytest.mark.parametrize("number", [0, 3, 8])
def test_a_model_has_the_score_that_berkeleys_checker_gives_its_answers(
    tiny_gguf: Callable[[str], Path], number: int
) -> None:
    _require_berkeleys_score(tiny_gguf("Q8_0"), number)


def test_a_model_of_2024_has_the_score_that_berkeleys_checker_gives_its_answers(tmp_path: Path) -> None:
    _require_berkeleys_score(model(tmp_path), 0)


def _require_berkeleys_score(path: Path, number: int) -> None:
    """Let a model answer with the calls of one verdict a question, as GLM-4 writes them, and compare the scores."""
    data, verdicts = read_berkeley(DATA), _verdicts()
    chosen = {case.id: verdicts[case.id][number % len(verdicts[case.id])] for case in _cases(data)}

    def script(prompt: str) -> str:
        (case,) = (case for case in _cases(data) if case.messages[-1]["content"] in prompt)
        calls = [f"{name}\n{json.dumps(arguments)}" for name, arguments in chosen[case.id]["calls"]]
        return "<|assistant|>".join(calls) + "<|observation|>" if calls else "None of them.<|user|>"

    with scripted(path, script) as (glm, _):
        run = BerkeleyEvaluation(glm, data)
        assert len(list(run.answers())) == len(chosen)
    told = {one.name: one.right for one in run.score.categories}
    assert told == {one.name: sum(chosen[case.id]["right"] for case in one.cases) for one in data.categories}


def _cases(data: Any) -> list[Any]:
    return list(chain.from_iterable(category.cases for category in data.categories))


def test_a_run_goes_on_from_its_answers(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    data, kept = read_berkeley(DATA), tmp_path / "answers.jsonl"
    options = {"threads": 1, "n_ctx": 4096, "n_gpu_layers": 0}
    with GLM(tiny_gguf("Q8_0"), options=options) as glm:
        begun = list(islice(BerkeleyEvaluation(glm, data, {"max_tokens": 24}, kept).answers(), 7))
        whole = kept.read_bytes()
        kept.write_bytes(whole + b'{"id": "cut by a cra')
        second = BerkeleyEvaluation(glm, data, {"max_tokens": 24}, kept)
        answers = list(second.answers())
        fresh = BerkeleyEvaluation(glm, data, {"max_tokens": 24})
        assert kept.read_bytes().startswith(whole)
        assert answers[:7] == begun
        assert [(one.id, one.calls, one.text) for one in fresh.answers()] == [
            (one.id, one.calls, one.text) for one in answers
        ]
        assert fresh.score == second.score
        with pytest.raises(RequestError, match="other conditions: sampling"):
            list(BerkeleyEvaluation(glm, data, {"max_tokens": 25}, kept).answers())


def test_the_means_are_those_of_the_leaderboard() -> None:
    from glm_gguf.quality.bfcl.evaluation import BerkeleyScore

    rights = {"simple": (1, 2), "multiple": (1, 1), "parallel": (0, 5), "parallel_multiple": (1, 4)}
    plain = [CategoryScore(name, *counts) for name, counts in rights.items()]
    live = [CategoryScore(f"live_{name}", *counts) for name, counts in rights.items()]
    score = BerkeleyScore((*plain, *live), ())
    assert score.non_live == pytest.approx((1 / 2 + 1 + 0 + 1 / 4) / 4)
    assert score.live == pytest.approx(3 / 12)
    assert BerkeleyScore(tuple(plain[:3]), ()).non_live is None


def test_a_question_that_is_too_long_counts_as_wrong_and_is_told(
    tiny_gguf: Callable[[str], Path], tmp_path: Path
) -> None:
    question = {"id": "irrelevance_0", "question": [[{"role": "user", "content": "long " * 600}]], "function": []}
    (tmp_path / "BFCL_v3_irrelevance.json").write_text(json.dumps(question))
    with GLM(tiny_gguf("Q8_0"), options={"threads": 1, "n_ctx": 512, "n_gpu_layers": 0}) as glm:
        run = BerkeleyEvaluation(glm, read_berkeley(tmp_path))
        (answer,) = run.answers()
    assert "do not fit" in (answer.refused or "")
    assert run.score.categories == (CategoryScore("irrelevance", 0, 1, refused=1),)


def test_other_categories_are_named_with_the_reason(tmp_path: Path) -> None:
    shutil.copytree(DATA, tmp_path / "data")
    for name in ("simple_java", "multi_turn_base", "newest"):
        (tmp_path / "data" / f"BFCL_v4_{name}.json").write_text("{}")
    told = dict(read_berkeley(tmp_path / "data").left_out)
    assert set(told) == {"simple_java", "multi_turn_base", "newest"}
    with pytest.raises(RequestError, match="simple_java: arguments are source text"):
        read_berkeley(tmp_path / "data", ["simple_java"])


CASE = '{"id": "a", "question": [[]], "function": []}'
BAD = {
    "an answer that is missing": (CASE, '{"id": "b", "ground_truth": []}', "a has no possible answer"),
    "another form of answer": (CASE, '{"id": "a", "ground_truth": [{"f": {"x": 1}}]}', "another form"),
    "no JSON": ("{", "", "no JSON"),
    "no question": ('{"id": "a", "function": []}', "", "`question` is missing"),
    "no type": (
        '{"id": "a", "question": [[]], "function": [{"name": "f", "parameters": {"properties": {"x": {}}}}]}',
        "",
        "no known type for 'x'",
    ),
    "a type that is a list": (
        '{"id": "a", "question": [[]], "function": [{"name": "f", "parameters": {"properties": {"x": {"type": []}}}}]}',
        "",
        "no known type for 'x'",
    ),
    "a required argument that is no name": (
        '{"id": "a", "question": [[]], "function": [{"name": "f", "parameters": {"properties": {}, "required": [1]}}]}',
        "",
        "`required` that is no list of names",
    ),
    "nothing": ("", "", "no question"),
}


@pytest.mark.parametrize("fault", sorted(BAD))
def test_bad_data_is_told_with_its_line(fault: str, tmp_path: Path) -> None:
    questions, answers, told = BAD[fault]
    (tmp_path / "possible_answer").mkdir()
    (tmp_path / "BFCL_v3_simple.json").write_text(questions)
    (tmp_path / "possible_answer" / "BFCL_v3_simple.json").write_text(answers)
    with pytest.raises(RequestError, match=told):
        read_berkeley(tmp_path)


def test_a_question_may_hold_every_character_that_json_allows(tmp_path: Path) -> None:
    """Python's splitlines takes ten characters for line ends; of these JSON has only the line feed outside of texts."""
    text = "one\u2028two\x85three"
    question = {"id": "irrelevance_0", "question": [[{"role": "user", "content": text}]], "function": []}
    (tmp_path / "BFCL_v3_irrelevance.json").write_text(json.dumps(question, ensure_ascii=False) + "\n", "utf-8")
    ((case,),) = (category.cases for category in read_berkeley(tmp_path).categories)
    assert case.messages == ({"role": "user", "content": text},)


def evaluated(*arguments: str) -> Any:
    return CliRunner().invoke(cli, ["evaluate", *arguments])


def test_the_command_prints_a_score_for_each_category(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    kept = tmp_path / "answers.jsonl"
    asked = [str(tiny_gguf("Q8_0")), "--suite", "bfcl", str(DATA), "--max-tokens", "24", "--answers", str(kept)]
    result = evaluated(*asked, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert [one["name"] for one in told["categories"]] == list(CATEGORIES)
    assert kept.read_text().count("\n") == 1 + sum(one["total"] for one in told["categories"])
    again = evaluated(*asked, "--n-parallel", "2")
    shares = [one["right"] / one["total"] for one in told["categories"]]
    assert [line.split()[1] for line in again.stdout.splitlines()][: len(shares)] == [f"{one:.2%}" for one in shares]
    assert f"live{told['live']:>28.2%}" in again.stdout


WRONG = {
    "another measurement": (["--suite", "bfcl", str(DATA), "--requests", "built-in"], "requests: a suite does not"),
    "a category without a suite": (["--category", "simple"], "category: no suite"),
    "an unknown category": (["--suite", "bfcl", str(DATA), "--category", "simpel"], "simpel: there is no such file"),
    "no directory": (["--suite", "bfcl", "nowhere"], "no such directory"),
    "several at once without a suite": (["--n-parallel", "2"], "only a suite asks several"),
}


@pytest.mark.parametrize("name", sorted(WRONG))
def test_what_the_suite_cannot_use_is_refused_by_name(tiny_gguf: Callable[[str], Path], name: str) -> None:
    arguments, told = WRONG[name]
    result = evaluated(str(tiny_gguf("Q8_0")), *arguments)
    assert result.exit_code == 1
    assert told in str(result.exception)
