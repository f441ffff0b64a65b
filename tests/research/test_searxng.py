"""A SearXNG server is searched by its JSON API, and each of its faults is told in a line."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from research.page_server import Answer, PageServer, page, redirect, serving

from glm_gguf.errors import CorpusError, RequestError
from glm_gguf.research.corpus import Hit
from glm_gguf.research.fetch_rules import FetchRules
from glm_gguf.research.searxng import SearxngCorpus

RESULTS = [
    {"url": "https://a.example/1", "title": "First † 【page】", "content": "A  snippet\nof two lines", "engine": "x"},
    {"url": "https://a.example/2", "title": None, "content": None},
    {"url": "https://a.example/1", "title": "First again", "content": ""},
    {"url": "javascript:alert(1)", "title": "no page"},
    {"title": "no address"},
    "no result",
]
HITS = [
    Hit("First page", "https://a.example/1", "A snippet of two lines"),
    Hit("https://a.example/2", "https://a.example/2", ""),
]


def answer(results: object, **more: object) -> bytes:
    """Return an answer in SearXNG's form."""
    found = {"query": "q", "number_of_results": 0, "results": results, "answers": [], **more}
    return page(json.dumps(found), "application/json")


@pytest.fixture
def server() -> Iterator[PageServer]:
    with serving() as running:
        yield running


def corpus(server: PageServer, path: str = "", **rules: Any) -> SearxngCorpus:
    return SearxngCorpus(f"http://127.0.0.1:{server.port}{path}", FetchRules(**rules))


@pytest.mark.parametrize("path", ["", "/", "/search", "/searx/"])
def test_a_search_returns_the_results_that_have_an_address(server: PageServer, path: str) -> None:
    below = "/searx/search" if "searx" in path else "/search"
    server.answers[below] = answer(RESULTS)
    found = corpus(server, path)
    assert found.search("lamps & 灯塔") == HITS
    assert found.search("lamps", 1) == HITS[:1]
    assert parse_qs(urlsplit(server.asked[0]).query) == {"q": ["lamps & 灯塔"], "format": ["json"]}


def test_no_results_are_no_fault(server: PageServer) -> None:
    server.answers["/search"] = answer([], unresponsive_engines=[])
    assert corpus(server).search("nothing") == []


FAULTS: dict[str, tuple[Answer, str]] = {
    "JSON is switched off": (page("Forbidden", status="403 Forbidden"), "search.formats"),
    "its limiter": (page("Too many", status="429 Too Many Requests"), "limiter"),
    "a fault of the server": (page("oh", status="500 Oh"), "status 500"),
    "another server": (page("<html>Hello</html>"), "without JSON"),
    "deep JSON": (page("[" * 10**6, "application/json"), "without JSON"),
    "a list": (page("[1]", "application/json"), "without results"),
    "no list of results": (answer({"a": 1}), "without results"),
    "silent engines": (answer([], unresponsive_engines=[["x", "timeout"], "y"]), "no engine answered: x timeout, y"),
    "a large answer": (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", "more than"),
    "a cut answer": (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", "failed"),
    "a redirect elsewhere": (redirect("http://10.0.0.1/search"), "not among the allowed"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_the_server_is_told(server: PageServer, name: str) -> None:
    server.answers["/search"], match = FAULTS[name]
    with pytest.raises(CorpusError, match=match):
        corpus(server).search("lamps")


def test_a_server_that_hangs_or_is_not_there_is_told(server: PageServer) -> None:
    hang: Callable[[Any], None] = lambda _: server.closing.wait(30) and None  # noqa: E731
    server.answers["/search"] = hang
    with pytest.raises(CorpusError, match="longer than"):
        corpus(server, seconds=0.3).search("lamps")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(CorpusError, match="cannot be reached"):
        SearxngCorpus(f"http://127.0.0.1:{port}", FetchRules(seconds=5)).search("lamps")


def test_the_pages_of_a_private_server_stay_private(server: PageServer) -> None:
    server.answers["/search"] = answer([{"url": f"http://127.0.0.1:{server.port}/secret", "title": "t"}])
    found = corpus(server)
    (hit,) = found.search("lamps")
    with pytest.raises(CorpusError, match="which is not"):
        found.open(hit.address)
    assert len(server.asked) == 1


@pytest.mark.parametrize("url", ["file:///etc", "http://", "ftp://x", "http://a:b@localhost"])
def test_a_wrong_address_of_the_server_is_refused(url: str) -> None:
    with pytest.raises(RequestError, match="localhost:8888"):
        SearxngCorpus(url)
