"""What ends an answer, in the words of each API: the page's table, and answers of the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from server.questions import HELLO
from server.serving import Served

from glm_gguf.chat.events import Finish, FinishReason
from glm_gguf.server.anthropic_messages.stop_reason import stop_reason
from glm_gguf.server.chat_completions.response import wire_finish
from glm_gguf.server.completions.writer import completion_finish
from glm_gguf.server.ollama.response import done_reason
from glm_gguf.server.responses.events import response_end

PAGE = Path(__file__).resolve().parents[2] / "docs" / "server-fields.md"
WORDS: dict[FinishReason, tuple[str, str, str, str, str]] = {
    "stop": ("stop", "stop", "completed", "end_turn", "stop"),
    "tool_calls": ("tool_calls", "length", "completed", "tool_use", "stop"),
    "length": ("length", "length", "incomplete", "max_tokens", "length"),
    "timeout": ("length", "length", "incomplete", "max_tokens", "length"),
}
STOP_TEXT = "e"
LIVE: dict[str, tuple[str, dict[str, Any], str]] = {
    "chat, cut": ("/v1/chat/completions", {"max_tokens": 1}, "the maximum number of tokens"),
    "chat, stop text": ("/v1/chat/completions", {"stop": STOP_TEXT}, "a stop text"),
    "chat, EOG": ("/v1/chat/completions", {}, "the model ends its turn"),
    "completions, cut": ("/v1/completions", {"max_tokens": 1}, "the maximum number of tokens"),
    "responses, cut": ("/v1/responses", {"max_output_tokens": 1}, "the maximum number of tokens"),
    "responses, EOG": ("/v1/responses", {}, "the model ends its turn"),
    "messages, cut": ("/v1/messages", {"max_tokens": 1}, "the maximum number of tokens"),
    "messages, stop text": ("/v1/messages", {"stop_sequences": [STOP_TEXT]}, "a stop text"),
    "messages, EOG": ("/v1/messages", {}, "the model ends its turn"),
    "Ollama, cut": ("/api/chat", {"options": {"num_predict": 1}}, "the maximum number of tokens"),
    "Ollama, EOG": ("/api/chat", {}, "the model ends its turn"),
}
ASKED: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": HELLO},
    "/v1/completions": {"prompt": "Hello"},
    "/v1/responses": {"input": "Hello"},
    "/v1/messages": {"model": "tiny", "messages": HELLO, "max_tokens": 500},
    "/api/chat": {"messages": HELLO, "stream": False},
}


def test_every_reason_has_its_words() -> None:
    assert set(WORDS) == set(get_args(FinishReason))
    for reason, words in WORDS.items():
        status, details = response_end(reason)
        ends = wire_finish(reason), completion_finish(reason), status, stop_reason(Finish(reason))
        assert (*ends, done_reason(Finish(reason))) == words
        assert (details is not None) == (status == "incomplete")
    assert stop_reason(Finish("stop", stop_text="a")) == "stop_sequence"


def row(begin: str) -> list[str]:
    [line] = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith(f"| {begin}")]
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize(("path", "fields", "end"), LIVE.values(), ids=LIVE)
def test_an_answer_ends_in_the_words_of_the_table(served: Served, path: str, fields: dict[str, Any], end: str) -> None:
    asked = {**({} if path == "/api/chat" else {"temperature": 0}), **ASKED[path], **fields}
    answer = httpx.post(f"{served.url}{path}", json=asked, timeout=30).json()
    reason = answer.get("stop_reason") or answer.get("done_reason")
    reason = answer["choices"][0]["finish_reason"] if "choices" in answer else reason
    cell = row(end)[1 + list(ASKED).index(path)]
    assert cell.startswith(f"`{reason or answer['status']}`")
    details = answer.get("incomplete_details")
    assert details is None or str(details["reason"]) in cell
