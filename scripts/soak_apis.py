"""The APIs that `soak_all.py` asks: their requests, and the texts of their answers, whole and streamed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scripts.soak_server import folded, question, said

Body = dict[str, Any]
Scales = tuple[tuple[str, float], ...]
MIXES: tuple[Scales, ...] = ((), (("first", 1.0),), (("second", 1.0),), (("first", 0.5), ("second", -0.5)))


@dataclass(frozen=True)
class Api:
    """How one API is asked, and what it answers."""

    path: str
    asked: Callable[[str, int], Body]
    """Text and number of tokens → body."""
    whole: Callable[[Body], str]
    """Body of a response → text."""
    part: Callable[[Body], str] | None
    """JSON of a streamed line → its piece of text; None where nothing is streamed."""
    last: tuple[str, ...] = ()
    """What the last line of a whole stream holds: one of these."""
    lora: bool = True


def _chat(text: str, most: int) -> Body:
    return {"messages": [{"role": "user", "content": text}], "max_tokens": most, "temperature": 0}


def _ollama(field: str, given: Any, most: int) -> Body:
    return {"model": "soak", field: given, "stream": False, "options": {"temperature": 0, "num_predict": most}}


def _messages_part(event: Body) -> str:
    return str(event.get("delta", {}).get("text", ""))


def _responses_part(event: Body) -> str:
    return str(event["delta"]) if event.get("type") == "response.output_text.delta" else ""


def _responses_text(body: Body) -> str:
    return "".join(part["text"] for item in body["output"] for part in item.get("content") or [])


def _rounded(vectors: list[list[float]]) -> str:
    return json.dumps([[round(value, 3) + 0.0 for value in vector[:32]] for vector in vectors])


APIS = {
    "chat": Api(
        "/v1/chat/completions",
        _chat,
        lambda body: said(body["choices"][0]["message"]),
        lambda _: "",  # `folded` reads calls too
        last=("data: [DONE]",),
    ),
    "completions": Api(
        "/v1/completions",
        lambda text, most: {"prompt": text, "max_tokens": most, "temperature": 0},
        lambda body: str(body["choices"][0]["text"]),
        lambda body: str(body["choices"][0]["text"]) if body.get("choices") else "",
        last=("data: [DONE]",),
    ),
    "responses": Api(
        "/v1/responses",
        lambda text, most: {"input": text, "max_output_tokens": most, "temperature": 0},
        _responses_text,
        _responses_part,
        last=('"response.completed"', '"response.incomplete"'),
        lora=False,
    ),
    "messages": Api(
        "/v1/messages",
        lambda text, most: _chat(text, most) | {"model": "soak"},
        lambda body: "".join(block.get("text", "") for block in body["content"]),
        _messages_part,
        last=("message_stop",),
        lora=False,
    ),
    "ollama chat": Api(
        "/api/chat",
        lambda text, most: _ollama("messages", [{"role": "user", "content": text}], most),
        lambda body: str(body["message"]["content"]),
        lambda body: str(body["message"]["content"]),
        last=('"done":true',),
    ),
    "ollama generate": Api(
        "/api/generate",
        lambda text, most: _ollama("prompt", text, most),
        lambda body: str(body["response"]),
        lambda body: str(body["response"]),
        last=('"done":true',),
    ),
    "embeddings": Api(
        "/v1/embeddings",
        lambda text, _: {"input": [text, "another"]},
        lambda body: _rounded([item["embedding"] for item in body["data"]]),
        None,
        lora=False,
    ),
    "ollama embed": Api(
        "/api/embed",
        lambda text, _: {"model": "soak", "input": [text]},
        lambda body: _rounded(body["embeddings"]),
        None,
        lora=False,
    ),
}


@dataclass(frozen=True)
class Case:
    """One greedy request; equal cases have equal answers."""

    api: str
    number: int
    scales: Scales = ()

    def body(self) -> Body:
        """Return the request, not streamed."""
        asked = question(self.number)
        body = APIS[self.api].asked(asked["messages"][0]["content"], asked["max_tokens"])
        if self.api == "chat" and "tools" in asked:
            body["tools"] = asked["tools"]
        if self.scales:
            body["lora"] = dict(self.scales)
        return body

    def text(self, body: Body) -> str:
        """Read a whole answer."""
        return APIS[self.api].whole(body)

    def streamed_text(self, lines: list[str]) -> str | None:
        """Read a stream; None where it was cut off, or cuts a call into pieces at its end."""
        lines = [line for line in lines if line]
        end = lines[-1].replace('": ', '":') if lines else ""
        if not any(last in end for last in APIS[self.api].last) or any('{"error"' in line[:16] for line in lines):
            return None
        if self.api == "chat":
            cut = any('"finish_reason":"length"' in line for line in lines) and "tools" in self.body()
            return None if cut else folded(lines)
        read = APIS[self.api].part
        assert read is not None
        texts = [line.removeprefix("data: ") for line in lines]
        return "".join(read(json.loads(text)) for text in texts if text.startswith("{"))


def cases(count: int) -> list[Case]:
    """Questions to all APIs, a part of them with adapters."""
    found = [Case(name, number) for name in APIS for number in range(count)]
    with_lora = [name for name, api in APIS.items() if api.lora]
    return found + [Case(name, number, mix) for name in with_lora for number, mix in enumerate(MIXES) if mix]
