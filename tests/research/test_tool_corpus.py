"""Tools as a corpus: what servers answer in JSON are hits and pages, any other text is one page."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from waiting import PATIENCE

from glm_gguf import CorpusError, Hit, McpServers, Page, RequestError
from glm_gguf.cli.main import cli
from glm_gguf.research.call_limit import CallLimit
from glm_gguf.research.tool_corpus import ToolCorpus

LIGHT = {"id": "l1", "title": "The light", "text": "Ansel keeps the light.", "url": "https://a.test/l"}


def search(query: str, limit: int = 5) -> Any:
    """Search."""
    if query == "broken":
        raise_error()
    return {"count": 1, "results": [LIGHT, {"title": "no address"}]} if query == "light" else {"results": []}


def raise_error() -> None:
    raise RequestError("the index is broken")


def prose(text: str) -> str:
    """Search, and say it in prose."""
    return f"Of {text}: the light is kept by Ansel." if text != "nothing" else ""


def fetch(doc_id: str) -> dict[str, str]:
    """Read."""
    return {"title": "Of the light", "text": "Ansel keeps it."} if doc_id == "l1" else {"error": "not found"}


def two(a: str, b: str) -> str:
    """Take two texts."""
    return a + b


def test_results_in_json_are_hits_and_pages() -> None:
    corpus = ToolCorpus([search, fetch], "search", "fetch")
    assert corpus.search("light") == [Hit("The light", "l1", "Ansel keeps the light.")]
    assert corpus.open("l1") == Page("Of the light", "l1", "Ansel keeps it.")
    assert corpus.search("dark") == []
    with pytest.raises(CorpusError, match="fetch: not found"):
        corpus.open("l2")
    with pytest.raises(CorpusError, match="the index is broken"):
        corpus.search("broken")


def cut(query: str) -> str:
    """Search as JavaScript does, which cuts texts in halves of characters."""
    return '{"results": [{"url": "u\\ud83d", "title": "t", "text": "light \\ud83d"}]}' if query else ""


def test_halves_of_characters_are_replaced() -> None:
    corpus = ToolCorpus([cut], "cut")
    (hit,) = corpus.search("light")
    assert hit == Hit("t", "u\ufffd", "light \ufffd")
    assert corpus.open("u\ufffd").text == "light \ufffd"


def test_without_a_tool_that_reads_a_page_is_what_the_search_told() -> None:
    corpus = ToolCorpus([search], "search")
    corpus.search("light")
    assert corpus.open("l1").text == "Ansel keeps the light."
    with pytest.raises(CorpusError, match="no search has found"):
        corpus.open("l2")


def test_a_call_ends_at_its_limit_whatever_thread_it_has_left_behind() -> None:
    gate, ended = threading.Event(), threading.Event()

    def work() -> None:
        gate.wait(PATIENCE)
        ended.set()

    async def stuck(query: str) -> None:
        """Look something up on a thread."""
        await asyncio.to_thread(work)

    try:
        with pytest.raises(CorpusError, match=r"did not answer within 0\.2 seconds"):
            ToolCorpus([stuck], "stuck", limit=CallLimit(call_seconds=0.2)).search("light")
        assert not ended.is_set()
    finally:
        gate.set()


def test_prose_is_one_hit_whose_page_is_all_of_it() -> None:
    corpus = ToolCorpus([prose, fetch], "prose", "fetch")
    (hit,) = corpus.search("oil")
    assert corpus.open(hit.address).text == "Of oil: the light is kept by Ansel."
    assert corpus.search("nothing") == []


UNUSABLE = {"no such tool": ("find", None), "two texts": ("two", None), "no such reader": ("search", "open")}


@pytest.mark.parametrize("name", sorted(UNUSABLE))
def test_tools_that_do_not_fit_are_refused_by_name(name: str) -> None:
    with pytest.raises(RequestError, match=r"there is no tool|takes more than one text"):
        ToolCorpus([search, two, fetch], *UNUSABLE[name])


WRONG = {
    "no server": (["--mcp-search", "a__b"], "no MCP server is started"),
    "no tool": (["--mcp", "mcp.json"], "which tool searches"),
    "another search": (
        ["--mcp", "mcp.json", "--mcp-search", "a__b", "--searxng", "http://a"],
        "searches the web already",
    ),
}


@pytest.mark.parametrize("name", sorted(WRONG))
def test_options_that_nothing_heeds_are_refused(tiny_gguf: Any, tmp_path: Path, name: str) -> None:
    arguments, told = WRONG[name]
    result = CliRunner().invoke(cli, ["research", str(tiny_gguf("Q8_0")), "Who?", *arguments])
    assert told in str(result.exception)


@pytest.fixture
def clock(tmp_path: Path) -> Path:
    """A file that names a real server."""
    entry = {"command": sys.executable, "args": ["-m", "mcp_server_time"]}
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": {"time": entry}}))
    return tmp_path / "mcp.json"


def test_a_real_server_is_asked(clock: Path) -> None:
    with McpServers(clock) as servers:
        corpus = ToolCorpus([*servers], "time__get_current_time")
        (hit,) = corpus.search("Europe/Paris")
        assert '"timezone": "Europe/Paris"' in corpus.open(hit.address).text


def test_the_command_starts_the_server(tiny_gguf: Any, clock: Path) -> None:
    mcp = ["--mcp", str(clock), "--mcp-search", "time__get_current_time"]
    limits = ["--max-turns", "1", "--max-tokens", "40"]
    result = CliRunner().invoke(cli, ["research", str(tiny_gguf("Q8_0")), "What time is it?", *mcp, *limits])
    assert result.exit_code == 0, result.output
    assert "turn 1" in result.stderr
