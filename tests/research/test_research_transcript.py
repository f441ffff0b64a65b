"""A research that was interrupted goes on from its transcript, and asks the model nothing twice."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from research.conftest import SmallCorpus
from research.scripted_engine import scripted
from research.test_research import FIND, QUESTION, REPORT, SEARCH, call

from glm_gguf.appended_lines import AppendedLines
from glm_gguf.errors import EngineError, OutputError, RequestError
from glm_gguf.research.research import Research
from glm_gguf.research.research_events import Report
from glm_gguf.research.transcript import Transcript

ANSWERS = [call("click", '{"link_id": 9}'), *FIND]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def whole(path: Path, corpus: SmallCorpus, transcript: Path) -> tuple[Report, list[str]]:
    """Return the report of an undisturbed research, and its prompts."""
    with scripted(path, ANSWERS) as (glm, engine):
        return Research(glm, corpus, transcript=transcript).run(QUESTION), engine.prompts


def test_a_transcript_tells_every_turn_and_the_report(rumination: Path, corpus: SmallCorpus, tmp_path: Path) -> None:
    whole(rumination, corpus, tmp_path / "t.jsonl")
    told = lines(tmp_path / "t.jsonl")
    assert told[0] == {"research": 1, "question": QUESTION}
    assert [line["event"]["kind"] for line in told[1:-1]] == ["CallFailed", "Searched", "Opened"]
    assert told[2]["thought"] == "I think."
    assert told[2]["call"] == {"name": "search", "arguments": '{"query": "light"}'}
    assert told[3]["observation"] == "The keeper is Ansel."
    assert told[-1]["report"]["sources"] == [{"number": 1, "title": "One", "address": "a.test/one"}]


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("cut", [0, 9], ids=["whole lines", "a cut line"])
def test_an_interrupted_research_goes_on(
    rumination: Path, corpus: SmallCorpus, tmp_path: Path, turns: int, cut: int
) -> None:
    expected, prompts = whole(rumination, corpus, tmp_path / "whole.jsonl")
    path = tmp_path / "t.jsonl"
    script = [*ANSWERS[:turns], EngineError("the power fails")]
    with scripted(rumination, script) as (glm, _), pytest.raises(EngineError, match="power"):
        Research(glm, corpus, transcript=path).run(QUESTION)
    kept = turns
    if cut:
        path.write_bytes(path.read_bytes()[:-cut])
        kept = max(turns - 1, 0)
    with scripted(rumination, ANSWERS[kept:]) as (glm, engine):
        assert Research(glm, corpus, transcript=path).run(QUESTION) == expected
        assert engine.prompts == prompts[kept:]
    assert len(lines(path)) == len(lines(tmp_path / "whole.jsonl"))


def test_a_research_that_is_done_is_not_done_again(rumination: Path, corpus: SmallCorpus, tmp_path: Path) -> None:
    expected, _ = whole(rumination, corpus, tmp_path / "t.jsonl")
    before = (tmp_path / "t.jsonl").read_bytes()
    with scripted(rumination, []) as (glm, _):
        assert Research(glm, corpus, transcript=tmp_path / "t.jsonl").run(QUESTION) == expected
    assert (tmp_path / "t.jsonl").read_bytes() == before


def test_budgets_count_the_turns_of_earlier_processes(rumination: Path, corpus: SmallCorpus, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    with scripted(rumination, [SEARCH, EngineError("x")]) as (glm, _), pytest.raises(EngineError):
        Research(glm, corpus, transcript=path).run(QUESTION)
    with scripted(rumination, [REPORT]) as (glm, _):
        last = Research(glm, corpus, {"max_turns": 1}, transcript=path).run(QUESTION)
    assert (last.turns, last.ended_by) == (1, "turns")


HEAD = json.dumps({"research": 1, "question": QUESTION}) + "\n"
TURN = {
    **{"thought": "", "content": "", "call": None, "observation": "", "tokens": 1, "seconds": 0.5},
    "event": {"kind": "CallFailed", "call": "", "error": ""},
}
REPORT_LINE = {
    **{"question": QUESTION, "text": "Ansel", "sources": [], "ended_by": "finish", "turns": 1, "tokens": 1},
    "complete": True,
}


def changed(**values: object) -> str:
    """Write a turn in which a value is none that a research writes."""
    return HEAD + json.dumps(TURN | values) + "\n"


FOREIGN = {
    "tokens that are a text": (changed(tokens="many"), "line 2"),
    "no time": (changed(seconds=None), "line 2"),
    "an observation that is a list": (changed(observation=[1]), "line 2"),
    "a call without a name": (changed(call={"name": None, "arguments": "{}"}), "line 2"),
    "an error that is a number": (changed(event={"kind": "CallFailed", "call": "", "error": 1}), "line 2"),
    "a hit that is a number": (
        changed(event={"kind": "Searched", "query": "", "hits": [{"title": "", "address": 1, "snippet": ""}]}),
        "line 2",
    ),
    "a report without a text": (HEAD + json.dumps({"report": REPORT_LINE | {"text": None}}) + "\n", "line 2"),
    "a report of another end": (HEAD + json.dumps({"report": REPORT_LINE | {"ended_by": "boredom"}}) + "\n", "line 2"),
    "notes": ("these are my notes\n", "line 1"),
    "another question": (json.dumps({"research": 1, "question": "Why?"}) + "\n", "another question: 'Why\\?'"),
    "another version": (json.dumps({"research": 2, "question": QUESTION}) + "\n", "line 1"),
    "a chat": ('[{"role": "user", "content": "x"}]\n', "line 1"),
    "a damaged turn": (HEAD + '{"thought": 1}\n', "line 2"),
    "a turn of another kind": (HEAD + '{"call": null, "event": {"kind": "Danced"}}\n', "line 2"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_file_that_is_no_transcript_of_the_question_is_refused_and_stays(
    rumination: Path, corpus: SmallCorpus, tmp_path: Path, name: str
) -> None:
    text, match = FOREIGN[name]
    (tmp_path / "t.jsonl").write_text(text, "utf-8")
    with scripted(rumination, []) as (glm, _), pytest.raises(RequestError, match=match):
        Research(glm, corpus, transcript=tmp_path / "t.jsonl").run(QUESTION)
    assert (tmp_path / "t.jsonl").read_text("utf-8") == text


def test_a_transcript_that_cannot_be_written_is_told_before_the_model_starts(
    rumination: Path, corpus: SmallCorpus, tmp_path: Path
) -> None:
    with scripted(rumination, []) as (glm, _), pytest.raises(OutputError, match="No such file"):
        Research(glm, corpus, transcript=tmp_path / "none" / "t.jsonl").run(QUESTION)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows locks none")
def test_two_researches_do_not_write_one_transcript(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    first = Transcript(path, QUESTION)
    with pytest.raises(OutputError, match="another process writes it"):
        Transcript(path, QUESTION)
    first.close()
    Transcript(path, QUESTION).close()
    with pytest.raises(OutputError, match="another process writes it"):
        AppendedLines(path, 0)  # it was read before the first line was there
    assert [*lines(path)[0]] == ["research", "question"]
