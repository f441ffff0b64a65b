"""Ollama's JavaScript client, every method of it; `scripts/check_javascript` fetches it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from server.serving import Served, idle
from waiting import until

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts" / "javascript"


@pytest.fixture(scope="module")
def came(served: Served) -> Any:
    """What came of each method."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    if not (SCRIPTS / "node_modules" / "ollama").is_dir():
        pytest.skip("scripts/check_javascript has not fetched Ollama's client")
    command = ["node", str(SCRIPTS / "ollama_client.js"), served.url, "tiny"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    return json.loads(ended.stdout)


def test_models_are_listed_and_described(came: Any) -> None:
    assert [came["list"]["models"][0]["model"], came["ps"]["models"][0]["name"]] == ["tiny:latest"] * 2
    assert came["show"]["capabilities"] == ["completion", "tools"]
    assert came["version"]["version"]


def test_answers_come_whole_and_streamed(came: Any, served: Served) -> None:
    wanted = served.glm.chat("Hello", temperature=0, max_tokens=120).content
    assert came["chat"]["message"]["content"] == came["generate"]["response"] == wanted
    assert "".join(part["message"]["content"] for part in came["chat_streamed"]) == wanted
    assert "".join(part["response"] for part in came["generate_streamed"]) == wanted
    assert list(json.loads(came["format"]["message"]["content"])) == ["city"]


def test_calls_come_streamed(came: Any) -> None:
    (call,) = [call for part in came["calls"] for call in part["message"].get("tool_calls", [])]
    assert call["function"] == {"index": 0, "name": "get_weather", "arguments": {"city": "Paris"}}


def test_vectors_are_those_of_the_model(came: Any, served: Served) -> None:
    assert came["embed"]["embeddings"][1] == pytest.approx(served.glm.embed("你好").tolist(), abs=1e-5)
    assert came["embeddings"]["embedding"] == came["embed"]["embeddings"][0]


def test_a_stream_that_was_aborted_frees_its_sequence(came: Any, served: Served) -> None:
    assert isinstance(came["aborted"], str)
    until(lambda: idle(served))


def test_the_model_that_is_there_need_not_be_fetched(came: Any) -> None:
    assert came["pull"] == [{"status": "success"}]


@pytest.mark.parametrize("name", ["pull_other", "push", "create", "copy", "delete", "systemone", "images"])
def test_what_there_is_not_is_refused_with_advice(came: Any, name: str) -> None:
    assert came[name]["status"] == 400
    assert "; " in came[name]["error"]
