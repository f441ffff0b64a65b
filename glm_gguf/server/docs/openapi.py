"""The OpenAPI description of a route besides its schemas: its errors and its stream."""

from __future__ import annotations

from typing import Any, Final

from pydantic import ConfigDict

from glm_gguf.server.bodies.wire import WireResponse

Responses = dict[int | str, dict[str, Any]]


class ErrorFields(WireResponse):
    """What is wrong, and the field."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIError(WireResponse):
    """An error as OpenAI's API returns it."""

    error: ErrorFields


class OllamaError(WireResponse):
    """An error as Ollama's API returns it."""

    error: str


class AnthropicErrorFields(WireResponse):
    """What is wrong."""

    type: str
    message: str


class AnthropicError(WireResponse):
    """An error as Anthropic's API returns it."""

    type: str
    error: AnthropicErrorFields


_MEANINGS: Final[dict[int | str, str]] = {
    400: "A field is invalid or unsupported, or the conversation is longer than the context.",
    401: "The API key is missing or invalid.",
    408: "The body arrived too slowly, or the time limit passed before the answer began.",
    413: "The body is too large.",
    429: "The queue is full; Retry-After says when to try again.",
    503: "The model is loading or failed, or the server is shutting down.",
    "4XX": "The request is refused for another reason.",
    "5XX": "The server failed.",
}


def error_responses(model: type[WireResponse]) -> Responses:
    """Describe the errors of a route with a body."""
    return {status: {"model": model, "description": meaning} for status, meaning in _MEANINGS.items()}


def lookup_error_responses(model: type[WireResponse]) -> Responses:
    """Describe the errors of a route without a body."""
    found = error_responses(model)
    del found[400], found[408], found[413], found[429]
    return found | {404: {"model": model, "description": "It does not exist."}}


def stream_response(example: str) -> Responses:
    """Describe the stream that a route may answer with, by the start of an example."""
    stream = {"schema": _EVENT, "example": example}
    return {200: {"description": "The whole answer, or its events with `stream`.", "content": {_EVENTS: stream}}}


def line_response(example: str) -> Responses:
    """Describe the stream of Ollama's API, by the start of an example."""
    stream = {"schema": {"type": "string"}, "example": example}
    return {200: {"description": "The whole answer, or its lines.", "content": {"application/x-ndjson": stream}}}


_EVENTS: Final = "text/event-stream"
_EVENT: Final = {
    "type": "object",
    "title": "ServerSentEvent",
    "description": "One event; a stream holds many.",
    "properties": {"event": {"type": "string"}, "data": {"type": "string"}},
    "required": ["data"],
}
OPENAI_ERRORS: Final = error_responses(OpenAIError)
OPENAI_LOOKUP_ERRORS: Final = lookup_error_responses(OpenAIError)
ANTHROPIC_ERRORS: Final = error_responses(AnthropicError)
OLLAMA_ERRORS: Final = error_responses(OllamaError)
OLLAMA_LOOKUP_ERRORS: Final = lookup_error_responses(OllamaError)


def with_example(**body: Any) -> ConfigDict:
    """Return a model's configuration with an example of a request."""
    return ConfigDict(json_schema_extra={"examples": [body]})
