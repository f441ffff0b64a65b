"""Metrics count the server's work, and logs hold no content."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from research.scripted_engine import call, scripted, text
from server.questions import SHORT
from server.serving import Served, chat, serving

from glm_gguf import GLM
from glm_gguf.research.research_sources import ResearchSources
from glm_gguf.server.settings import ServerSettings


def test_no_content_is_logged(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        chat(served.url, {"messages": [{"role": "user", "content": "my-secret-words"}], "max_tokens": 1})
        chat(served.url, {"messages": [{"role": "my-secret-words"}]})
    ours = [
        record.getMessage() for record in caplog.records if record.name.startswith(("glm_gguf", "uvicorn", "asyncio"))
    ]
    assert not [line for line in ours if "my-secret-words" in line]


def test_metrics_count_what_was_done(open_tiny: Callable[[], GLM]) -> None:
    with serving(ServerSettings("tiny"), open_tiny) as fresh:
        assert chat(fresh.url, {**SHORT, "n": 2}).status_code == 200
        chat(fresh.url, b"x")
        httpx.get(f"{fresh.url}/v1/models/../../etc/passwd")
        httpx.get(f"{fresh.url}/v1/models", headers={"origin": "http://elsewhere"})
        lines = httpx.get(f"{fresh.url}/metrics").text.splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert values['glm_gguf_requests_total{path="/v1/chat/completions",status="200"}'] == "1.0"
    assert values['glm_gguf_requests_total{path="/v1/chat/completions",status="400"}'] == "1.0"
    assert values['glm_gguf_requests_total{path="none",status="403"}'] == "1.0"
    assert values["glm_gguf_answer_seconds_count"] == "2.0"
    assert values['glm_gguf_tokens_total{kind="prompt"}'] == "6.0"  # of two answers to one prompt
    assert float(values['glm_gguf_tokens_total{kind="answer"}']) > 2
    assert values["glm_gguf_n_cells"] == "4096.0"
    assert float(values["glm_gguf_cells_used"]) > 0


def test_metrics_count_researches_and_their_turns(rumination: Path, one_note: Path) -> None:
    answers = [call("search", '{"query": "light"}'), call("finish"), text("Ansel.")]
    settings = ServerSettings("tiny", research=ResearchSources(one_note))
    with scripted(rumination, answers) as (glm, _), serving(settings, lambda: glm) as fresh:
        asked = {"input": "Who keeps the light?", "tools": [{"type": "web_search"}]}
        used = httpx.post(f"{fresh.url}/v1/responses", json=asked, timeout=60).json()["usage"]
        lines = httpx.get(f"{fresh.url}/metrics").text.splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert values['glm_gguf_researches_total{ended_by="finish"}'] == "1.0"
    assert values["glm_gguf_research_turns_total"] == "2.0"
    assert values["glm_gguf_researches_running"] == "0.0"
    assert float(values['glm_gguf_tokens_total{kind="answer"}']) == used["output_tokens"]
