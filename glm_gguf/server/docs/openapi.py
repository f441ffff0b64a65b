"""What the OpenAPI description says of a route besides its schemas: the errors it may answer with, and its stream."""

from __future__ import annotations

from typing import Any, Final

from pydantic import ConfigDict

from glm_gguf.server.bodies.wire import WireResponse

Responses = dict[int | str, dict[str, Any]]


class ErrorFields(WireResponse):
    """What is wrong, and in which field."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIError(WireResponse):
    """An error as OpenAI's API returns it."""

    error: ErrorFields


class AnthropicErrorFields(WireResponse):
    """What is wrong."""

    type: str
    message: str


class AnthropicError(WireResponse):
    """An error as Anthropic's API returns it."""

    type: str
    error: AnthropicErrorFields


_MEANINGS: Final[dict[int | str, str]] = {
    400: "A field is wrong, asks for what cannot be, or the conversation is longer than the context.",
    401: "There is no key, or it is none of this server's.",
    408: "The body took too long to come, or the time of the request was over before its answer began.",
    413: "The body is larger than the server reads.",
    429: "As many requests as allowed are waiting; Retry-After says when to ask again.",
    503: "The model is being loaded or could not be, or the server is ending.",
    "4XX": "The request is refused for another reason.",
    "5XX": "The server failed.",
}


def error_responses(model: type[WireResponse]) -> Responses:
    """Say which errors a route that takes a body may answer with."""
    return {status: {"model": model, "description": meaning} for status, meaning in _MEANINGS.items()}


def lookup_error_responses(model: type[WireResponse]) -> Responses:
    """Say which errors a route without a body may answer with."""
    found = error_responses(model)
    del found[400], found[408], found[413], found[429]
    return found | {404: {"model": model, "description": "There is no such thing."}}


def stream_response(example: str) -> Responses:
    """Say that a route may answer with a stream of events, which begins like this."""
    stream = {"schema": _EVENT, "example": example}
    return {200: {"description": "The whole answer, or with `stream` its events.", "content": {_EVENTS: stream}}}


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


def with_example(**body: Any) -> ConfigDict:
    """Return the configuration of a request's model that shows an example of it."""
    return ConfigDict(json_schema_extra={"examples": [body]})
