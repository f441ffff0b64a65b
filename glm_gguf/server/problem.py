"""Errors as HTTP has them: one value, made from ours; error_forms.py writes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from glm_gguf.errors import (
    ContextLengthError,
    DeadlineError,
    EngineFailedError,
    GlmGgufError,
    QueueFullError,
    RequestError,
    TemplateError,
    UnmetFormatError,
)

RETRY_SECONDS: Final = 1


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a request, or with us: status and the fields of OpenAI's error object."""

    status: int
    message: str
    type: str = "invalid_request_error"
    param: str | None = None
    code: str | None = None
    retry_after: int | None = None
    as_sent: bool = False
    """`param` is the client's own name for the field, whatever the API."""

    @property
    def headers(self) -> dict[str, str]:
        """Headers that go with it."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return headers


UNEXPECTED: Final = Problem(500, "An error of the server's own; see its log.", "server_error")


NOT_LOADED: Final = Problem(
    503, "The model could not be loaded; the server's log says why.", "server_error", code="model_failed"
)
FAILED: Final = Problem(503, "The model failed; the server's log says why.", "server_error", code="model_failed")


class Refused(Exception):
    """A request is answered with a problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def problem_of(error: GlmGgufError) -> Problem:
    """Say what an error of ours means to who asked."""
    message, param = _sentence(error), error.field
    match error:
        case EngineFailedError():
            return FAILED
        case QueueFullError():
            return Problem(429, message, "rate_limit_error", code="rate_limit_exceeded", retry_after=RETRY_SECONDS)
        case DeadlineError():
            return Problem(408, message, code="deadline_exceeded")
        case ContextLengthError():
            return Problem(400, message, param=param, code="context_length_exceeded")
        case UnmetFormatError():
            return Problem(400, message, param=param or "response_format", code="format_not_met")
        case RequestError() | TemplateError():
            return Problem(400, message, param=param)
    return Problem(500, message, "server_error")


def _sentence(error: GlmGgufError) -> str:
    """Write an error with the field that it is about; other places, like the model's path, are not told to clients."""
    text = error.what if error.field is None else f"{error.field}: {error.what}"
    return f"{text}; {error.fix}." if error.fix else f"{text}."
