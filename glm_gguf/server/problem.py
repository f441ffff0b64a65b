"""What is wrong with a request, or with the server: one value, made from our errors, written in each API's form."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from starlette.responses import Response

from glm_gguf.errors import (
    ContextLengthError,
    CorpusError,
    DeadlineError,
    EngineFailedError,
    GlmGgufError,
    HubError,
    QueueFullError,
    RequestError,
    TemplateError,
    TransferError,
    UnmetFormatError,
    WorkerLostError,
)

RETRY_SECONDS: Final = 1
"""Retry-After of a full queue, or of full memory: either may have room soon."""
RESTART_SECONDS: Final = 5
"""Retry-After while the server loads its model, or ends."""


@dataclass(frozen=True, slots=True)
class Problem:
    """An HTTP error: its status and the fields of OpenAI's error object."""

    status: int
    message: str
    type: str = "invalid_request_error"
    param: str | None = None
    code: str | None = None
    retry_after: int | None = None
    as_sent: bool = False
    """`param` is the client's name of the field already; no API renames it."""

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the response."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return headers


MOST_CHARACTERS: Final = 2000
"""Of an error's message: clients log it, and some show it."""
MOST_NAMES: Final = 20
"""Models that an error names."""

UNEXPECTED: Final = Problem(500, "An error of the server's own; see its log.", "server_error")


NOT_LOADED: Final = Problem(
    503, "The model could not be loaded; the server's log says why.", "server_error", code="model_failed"
)
LOADING: Final = Problem(
    503, "The model is loading.", "server_error", code="model_loading", retry_after=RESTART_SECONDS
)
ENDING: Final = Problem(
    503, "The server is shutting down.", "server_error", code="shutting_down", retry_after=RESTART_SECONDS
)
WORKER_LOST: Final = Problem(
    503,
    "A worker that holds layers of the model was lost; the model is loaded again when it answers.",
    "server_error",
    code="worker_lost",
    retry_after=RESTART_SECONDS,
)
FAILED: Final = Problem(503, "The model failed; the server's log says why.", "server_error", code="model_failed")


def full_queue(message: str) -> Problem:
    """Return the problem of a request that finds a queue full."""
    return Problem(429, message, "rate_limit_error", code="rate_limit_exceeded", retry_after=RETRY_SECONDS)


def no_model_named(names: Sequence[str]) -> Problem:
    """Return the problem of a request that names none of several models."""
    return Problem(400, f"model: the server has several models; name one. {_list_of(names)}", param="model")


def unknown_model(name: str, names: Sequence[str]) -> Problem:
    """Return the problem of a request for a model that there is not."""
    message = f"There is no model {name[:100]!r}. {_list_of(names)}"
    return Problem(404, message, param="model", code="model_not_found")


def load_problem(name: str, error: GlmGgufError) -> Problem:
    """Return the problem of a request for one of several models that cannot be loaded."""
    message = f"The model {name!r} could not be loaded: {_sentence(error)}"
    return Problem(503, message, "server_error", code="model_failed")


def _list_of(names: Sequence[str]) -> str:
    """Write which models there are, the first MOST_NAMES of them."""
    if not names:
        return "There are no models: pull one by glm-gguf pull."
    more = f" and {len(names) - MOST_NAMES} more; /v1/models lists them" if len(names) > MOST_NAMES else ""
    return f"There are: {', '.join(names[:MOST_NAMES])}{more}."


class Refused(Exception):
    """Ends a request; its response is the problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def problem_of(error: GlmGgufError) -> Problem:
    """Return the problem of a library error."""
    message, param = _sentence(error), error.field
    match error:
        case WorkerLostError():
            return WORKER_LOST
        case EngineFailedError():
            return FAILED
        case QueueFullError():
            return full_queue(message)
        case DeadlineError():
            return Problem(408, message, code="deadline_exceeded")
        case ContextLengthError():
            return Problem(400, message, param=param, code="context_length_exceeded")
        case UnmetFormatError():
            return Problem(400, message, param=param or "response_format", code="format_not_met")
        case RequestError() | TemplateError() | HubError():
            return Problem(400, message, param=param)
        case TransferError() | CorpusError():
            return Problem(502, message, "server_error")
    return Problem(500, message, "server_error")


def _sentence(error: GlmGgufError) -> str:
    """Write an error with its field. Other places, such as the model's path, stay on the server."""
    text = error.what if error.field is None else f"{error.field}: {error.what}"
    return f"{text}; {error.fix}." if error.fix else f"{text}."


@dataclass(frozen=True, slots=True)
class ErrorForm:
    """How one API writes errors."""

    body: Callable[[Problem], dict[str, Any]]
    names: tuple[tuple[str, str], ...] = ()
    """Pattern of the start of a field's path → this API's name for it."""

    def value(self, problem: Problem) -> dict[str, Any]:
        """Write a problem as a JSON object."""
        return self.body(self._renamed(problem))

    def text(self, problem: Problem) -> str:
        """Write a problem as JSON text."""
        return json.dumps(self.value(problem), ensure_ascii=False)

    def _renamed(self, problem: Problem) -> Problem:
        """Use the API's name of the field, in the message too."""
        if problem.param is None or problem.as_sent:
            return problem
        param = problem.param
        for pattern, name in self.names:
            param, found = re.subn(rf"^{pattern}\b", name, param)
            if found:
                break
        message = problem.message
        if message.startswith(f"{problem.param}: "):
            message = param + message.removeprefix(problem.param)
        return replace(problem, param=param, message=message)


def _openai_body(problem: Problem) -> dict[str, Any]:
    fields = {"message": problem.message, "type": problem.type, "param": problem.param, "code": problem.code}
    return {"error": fields}


def _anthropic_body(problem: Problem) -> dict[str, Any]:
    default = "api_error" if problem.status >= 500 else "invalid_request_error"
    message = problem.message
    if problem.code == "context_length_exceeded":  # agents compact a conversation on these words
        message = f"prompt is too long: {message}"
    fields: dict[str, Any] = {"type": _ANTHROPIC_TYPES.get(problem.status, default), "message": message}
    if problem.code in _ANTHROPIC_CODES:
        fields["details"] = {"error_code": problem.code}
    return {"type": "error", "error": fields}


_ANTHROPIC_TYPES: Final[Mapping[int, str]] = MappingProxyType(
    {
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        408: "timeout_error",
        413: "request_too_large",
        429: "rate_limit_error",
        503: "overloaded_error",
    }
)

_ANTHROPIC_CODES: Final = frozenset({"thread_unsupported_request"})
"""Codes that Anthropic's API has too."""

OPENAI: Final = ErrorForm(_openai_body, (("question", "messages"), ("sources", "web_search_options")))
RESPONSES: Final = ErrorForm(
    _openai_body,
    (
        ("messages", "input"),
        ("question", "input"),
        ("max_tokens", "max_output_tokens"),
        ("logprobs", "top_logprobs"),
        (r"response_format\.json_schema", "text.format"),
        ("response_format", "text.format"),
        (r"(tools\[\d+\])\.function", r"\1"),
    ),
)
ANTHROPIC: Final = ErrorForm(
    _anthropic_body,
    (
        (r"response_format\.json_schema", "output_config.format"),
        ("response_format", "output_config.format"),
        ("thinking_budget", "thinking.budget_tokens"),
        ("stop", "stop_sequences"),
        (r"(tools\[\d+\])\.function\.parameters", r"\1.input_schema"),
        (r"(tools\[\d+\])\.function", r"\1"),
    ),
)
OLLAMA: Final = ErrorForm(
    lambda problem: {"error": problem.message},
    (
        (r"response_format\.json_schema", "format"),
        ("response_format", "format"),
        ("max_tokens", "options.num_predict"),
        ("stop", "options.stop"),
        ("thinking_budget", "think"),
    ),
)
_FORMS: Final = MappingProxyType(
    {"/v1/messages": ANTHROPIC, "/v1/responses": RESPONSES, "/api": OLLAMA, "/v1/systemone": OLLAMA}
)
"""Start of a path → the form of errors there; elsewhere OpenAI's form applies."""


def error_response(problem: Problem, path: str) -> Response:
    """Write a problem in the form of the API at a path; a long value that it quotes is cut."""
    form = next((form for start, form in _FORMS.items() if path.startswith(start)), OPENAI)
    param = None if problem.param is None else _shortened(problem.param)
    short = replace(problem, message=_shortened(problem.message), param=param)
    content = form.text(short).encode(errors="replace")
    return Response(content, problem.status, problem.headers, "application/json")


def _shortened(text: str) -> str:
    """Cut the middle of a long text: what is wrong stands before it, what to do behind it."""
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 500]} … {text[-400:]}"
