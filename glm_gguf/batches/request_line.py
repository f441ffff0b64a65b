"""One line of a batch's input: OpenAI's custom_id, method, url and body."""

from __future__ import annotations

from codecs import BOM_UTF8
from dataclasses import dataclass
from typing import Any, Final

from glm_gguf.strict_json import strict_json

ENDPOINTS: Final = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses")
FIELDS: Final = ("custom_id", "method", "url", "body")
LONGEST_ID: Final = 512
"""Characters of a custom_id."""


@dataclass(frozen=True, slots=True)
class LineError:
    """What is wrong with a line, as OpenAI's batch object lists it."""

    code: str
    message: str
    line: int | None
    """From 1; None for the file."""
    param: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return OpenAI's error object."""
        return {"code": self.code, "line": self.line, "message": self.message, "param": self.param}


@dataclass(frozen=True, slots=True)
class RequestLine:
    """A request of a batch."""

    custom_id: str
    url: str
    body: dict[str, Any]


def read_line(data: bytes, line: int, endpoint: str | None = None) -> RequestLine | LineError:
    """Read a line; `endpoint` is the only url that it may have, None for any of ENDPOINTS."""
    try:
        value = strict_json(data.removeprefix(BOM_UTF8).decode("utf-8"))
    except UnicodeDecodeError as error:
        return LineError("invalid_json_line", f"This is not UTF-8: byte {error.start} is invalid.", line)
    except ValueError as error:
        return LineError("invalid_json_line", f"This is not JSON: {error}.", line)
    except RecursionError:
        return LineError("invalid_json_line", "Its lists and objects are nested too deeply.", line)
    if not isinstance(value, dict):
        return LineError("invalid_json_line", "This is no JSON object.", line)
    missing = next((name for name in FIELDS if name not in value), None)
    if missing is not None:
        return LineError("missing_required_parameter", f"{missing}: it is missing.", line, missing)
    wrong = _wrong_field(value, endpoint)
    if wrong is not None:
        code, param, what = wrong
        return LineError(code, f"{param}: {what}.", line, param)
    return RequestLine(value["custom_id"], value["url"], value["body"])


def _wrong_field(value: dict[str, Any], endpoint: str | None) -> tuple[str, str, str] | None:
    """Return the code, the name and the fault of the first field that is wrong."""
    custom_id, url, body = value["custom_id"], value["url"], value["body"]
    unknown = next((name for name in value if name not in FIELDS), None)
    if unknown is not None:
        return "unknown_parameter", unknown[:100], f"a line has {', '.join(FIELDS)} only"
    if not isinstance(custom_id, str) or not 1 <= len(custom_id) <= LONGEST_ID:
        return "invalid_custom_id", "custom_id", f"give a text of 1 to {LONGEST_ID} characters"
    if value["method"] != "POST":
        return "invalid_method", "method", "only POST is possible"
    allowed = ENDPOINTS if endpoint is None else (endpoint,)
    if url not in allowed:
        what = "" if endpoint is None else ", the endpoint of this batch"
        return "invalid_url", "url", f"give {' or '.join(allowed)}{what}"
    if not isinstance(body, dict):
        return "invalid_body", "body", "give the request as an object"
    if body.get("stream"):
        return "invalid_body", "body.stream", "a batch has whole answers; leave it out"
    return None
