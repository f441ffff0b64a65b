"""ASGI middleware that checks host, origin and key of every request before its body is read."""

from __future__ import annotations

import hmac
import logging
import secrets
import time
from contextlib import ExitStack
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from glm_gguf.server.access.origins import host_name, is_allowed_origin, is_host, own_names
from glm_gguf.server.bodies.memory import BODY
from glm_gguf.server.problem import ENDING, UNEXPECTED, Problem, error_response
from glm_gguf.server.service import HELD, Service

LOGGER = logging.getLogger(__name__)
KEYLESS_PATHS: Final = ("/health", "/docs", "/openapi.json", "/page/", "/favicon.ico")
"""Paths that need no key; they reveal nothing of the model or of conversations."""


class AccessMiddleware:
    """Checks host, origin and key, refuses requests while the server ends, and counts active requests."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service
        self._names = own_names() | {name for given in service.settings.hosts if (name := host_name(given))}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        problem = self._problem(scope)
        app = self._app if problem is None else error_response(problem, scope["path"])
        named, start = _NamedSend(send), time.monotonic()
        body = scope[BODY] = self._service.bodies.new_body()
        held = scope[HELD] = ExitStack()
        self._service.active += 1
        try:
            await app(scope, receive, named)
        except Exception:  # the outermost edge: a bug ends one request, and is logged once
            LOGGER.exception("%s %s failed (%s)", scope["method"], scope["path"], named.request_id)
            if not named.status:
                await error_response(UNEXPECTED, scope["path"])(scope, receive, named)
            named.status = UNEXPECTED.status
        finally:
            self._service.active -= 1
            body.release()
            held.close()
            self._service.metrics.count_request(_route(scope), named.status, time.monotonic() - start)

    def _problem(self, scope: Scope) -> Problem | None:
        """Return why a request is refused; None if it is allowed."""
        headers, settings = Headers(scope=scope), self._service.settings
        if len(scope["query_string"]) > settings.limits.query_bytes:
            return Problem(414, f"The query has more than {settings.limits.query_bytes} bytes.")
        if (settings.hosts or not settings.api_keys) and not is_host(headers, self._names):
            host = headers.get("host", "")[:100]
            message = f"This server does not answer as {host!r}; allow the name by --allowed-host."
            return Problem(403, message, code="host_not_allowed")
        if _is_open(scope):
            return None
        if scope["method"] != "OPTIONS" and not has_key(headers, settings.api_keys):
            return Problem(401, _KEY_WANTED, code="invalid_api_key")
        if not settings.api_keys and not is_allowed_origin(headers, scope["scheme"], settings.origins):
            return Problem(
                403, "Pages of this origin may not send requests; allow it by --cors-origin.", code="origin_not_allowed"
            )
        if self._service.draining:
            return ENDING
        return None


_KEY_WANTED: Final = "Give an API key of this server: Authorization: Bearer KEY, or X-Api-Key: KEY."


def _is_open(scope: Scope) -> bool:
    path: str = scope["path"]
    return path == "/" or any(path == open_path or path.startswith(open_path) for open_path in KEYLESS_PATHS)


def has_key(headers: Headers, keys: tuple[str, ...]) -> bool:
    """Tell whether a request has one of the keys, or needs none. It compares all in constant time.

    One match is enough: some clients send a dummy key in the other header.
    """
    if not keys:
        return True
    scheme, _, token = headers.get("authorization", "").partition(" ")
    given = [headers.get("x-api-key", ""), token.strip() if scheme.lower() == "bearer" else ""]
    matches = [hmac.compare_digest(one.encode(errors="replace"), key.encode()) for one in given for key in keys]
    return any(matches)


def _route(scope: Scope) -> str:
    """Return the path of the matched route, with its parameters as names."""
    return getattr(scope.get("route"), "path", "none")


class _NamedSend:
    """Adds an id to a response, in OpenAI's and Anthropic's headers, and records its status."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.request_id = f"req_{secrets.token_hex(12)}"
        self.status = 0

    async def __call__(self, message: Message) -> None:
        """Send."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            request_id = self.request_id.encode()
            ids = ((b"x-request-id", request_id), (b"request-id", request_id))
            message["headers"] = [*message.get("headers", ()), *ids]
        await self._send(message)
