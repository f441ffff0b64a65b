"""One line of a batch's output, in OpenAI's form."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """The HTTP response to a request."""

    status: int
    request_id: str
    body: str
    """JSON in one line."""
    retry_after: float | None = None
    """Seconds after which the same request may be answered; None where it would fare no better."""


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Tokens of one result, or of many."""

    prompt: int = 0
    cached: int = 0
    """Of the prompts: those that were in the KV cache."""
    completion: int = 0

    def __add__(self, other: TokenCounts) -> TokenCounts:
        return TokenCounts(self.prompt + other.prompt, self.cached + other.cached, self.completion + other.completion)


@dataclass(frozen=True, slots=True)
class LineResult:
    """The result of a line."""

    number: int
    """Of the line in the input, from 1."""
    line: bytes
    ok: bool
    tokens: TokenCounts


def answered_line(number: int, custom_id: str, answer: Answer) -> LineResult:
    """Write an answer as a line; its status may be that of an error."""
    head = f'"status_code": {answer.status}, "request_id": {json.dumps(answer.request_id)}'
    response = f'{{{head}, "body": {answer.body or "null"}}}'
    ok = answer.status == 200
    return LineResult(number, _written(custom_id, response, "null"), ok, _counts(answer.body) if ok else TokenCounts())


def unanswered_line(number: int, custom_id: str, code: str, message: str) -> LineResult:
    """Write the line of a request that was not sent to the model."""
    error = json.dumps({"code": code, "message": message}, ensure_ascii=False)
    return LineResult(number, _written(custom_id, "null", error), ok=False, tokens=TokenCounts())


def read_result(data: bytes) -> tuple[str, bool] | None:
    """Return the custom_id of a result's line, and whether it is a good one; None for a torn line and for no result."""
    if not data.endswith(b"\n"):
        return None
    try:
        value = json.loads(data)
        custom_id, response = value["custom_id"], value["response"]
        ok = response is not None and response["status_code"] == 200
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    return (custom_id, ok) if isinstance(custom_id, str) else None


def _written(custom_id: str, response: str, error: str) -> bytes:
    """Write a line; the parts are JSON."""
    name = json.dumps(custom_id, ensure_ascii=False)
    fields = f'"id": "batch_req_{secrets.token_hex(12)}", "custom_id": {name}, "response": {response}, "error": {error}'
    return f"{{{fields}}}\n".encode("utf-8", "backslashreplace")


def _counts(body: str) -> TokenCounts:
    """Read the usage of an answer, which chat and completions write in one way and responses in another."""
    usage: dict[str, Any] = json.loads(body).get("usage") or {}
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    return TokenCounts(
        usage.get("prompt_tokens", usage.get("input_tokens", 0)),
        details.get("cached_tokens", 0),
        usage.get("completion_tokens", usage.get("output_tokens", 0)),
    )
