"""Request bodies: read within limits of size and time; large ones are parsed on a thread."""

from __future__ import annotations

import asyncio
from codecs import BOM_UTF8
from collections.abc import AsyncIterator, Callable, Coroutine
from types import MappingProxyType
from typing import Any, Final

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from glm_gguf.misspelled_names import meant_name
from glm_gguf.server.bodies.ignored_fields import body_models, declared_fields, note_ignored, set_headers
from glm_gguf.server.bodies.json_values import require_modest, require_short, too_deep
from glm_gguf.server.bodies.known_fields import ignored_fields, refused_field
from glm_gguf.server.bodies.memory import BODY, FULL, Body, BodyRefused
from glm_gguf.server.bodies.misplaced_fields import (
    Objects,
    advice,
    declared_objects,
    misplaced_field,
    unknown_keys,
)
from glm_gguf.server.limits import Limits
from glm_gguf.server.problem import Problem
from glm_gguf.strict_json import strict_json

SMALL: Final = 2**16
"""Bytes that the event loop parses itself, in less than a millisecond."""


class JsonRequest(Request):
    """A request whose body is JSON, whatever its Content-Type says."""

    declared: frozenset[str] = frozenset()
    """Fields that the body's schema declares."""
    objects: Objects = MappingProxyType({})
    """Those of them that are objects, with their keys."""

    @property
    def _limits(self) -> Limits:
        limits: Limits = self.app.state.service.settings.limits
        return limits

    async def body(self) -> bytes:
        """Read the body, once."""
        if not hasattr(self, "_read"):
            self._read = await self._received()
        return self._read

    async def json(self) -> Any:
        """Parse the body."""
        body = await self.body()
        if len(body) <= SMALL:
            value = parsed(body, self._limits)
        else:
            value = await asyncio.to_thread(parsed, body, self._limits)
        if isinstance(value, dict):
            self._check_fields(value)
        return value

    def _check_fields(self, value: dict[str, Any]) -> None:
        """Refuse unsupported, misspelled and misplaced fields; record the ignored ones."""
        refused = refused_field(value, self.declared)
        if refused is not None:
            name, field = refused
            near = meant_name(name, self.declared)
            outer = next((outer for outer, keys in self.objects.items() if name in keys), None)
            what = f"its name is `{near}` here" if near else f"give it in `{outer}`" if outer else advice(field)
            raise BodyRefused(Problem(400, f"{name}: {what}.", param=name, as_sent=True))
        misplaced = misplaced_field(value, self.declared, self.objects)
        if misplaced is not None:
            place, what = misplaced
            raise BodyRefused(Problem(400, f"{place}: {what}.", param=place, as_sent=True))
        note_ignored(self, [*ignored_fields(value, self.declared), *unknown_keys(value, self.objects)])

    async def _received(self) -> bytes:
        seconds, held = self._limits.body_seconds, self.scope[BODY]
        self._require_readable()
        try:
            async with asyncio.timeout(seconds) as limit:
                with held.incomplete(limit):
                    return b"".join([piece async for piece in self._pieces(held)])
        except TimeoutError:
            if held.evicted:
                raise BodyRefused(FULL) from None
            late = f"The body took longer than {seconds:g} seconds."
            raise BodyRefused(Problem(408, late, code="request_timeout")) from None

    def _require_readable(self) -> None:
        """Refuse a body that its head tells to be too large, or encoded."""
        declared = self.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._limits.body_bytes:
            raise _too_large(self._limits)
        coding = self.headers.get("content-encoding", "identity")
        if coding.lower() not in ("", "identity"):
            raise BodyRefused(Problem(415, f"The body is encoded ({coding[:40]}). Send it without Content-Encoding."))

    async def _pieces(self, held: Body) -> AsyncIterator[bytes]:
        """Yield the pieces of the body within its limit of bytes, each with memory for it."""
        size = 0
        async for piece in self.stream():
            size += len(piece)
            if size > self._limits.body_bytes:
                raise _too_large(self._limits)
            held.add(len(piece))
            yield piece


def _too_large(limits: Limits) -> BodyRefused:
    what = f"The body has more than {limits.body_bytes} bytes."
    return BodyRefused(Problem(413, what, code="request_too_large"))


def parsed(body: bytes, limits: Limits) -> Any:
    """Parse JSON; BodyRefused if it is invalid, too deep, or above the limits."""
    require_short(body, limits)
    try:
        value = strict_json(body.removeprefix(BOM_UTF8).decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BodyRefused(Problem(400, f"The body is not UTF-8: byte {error.start} is invalid.")) from None
    except RecursionError:
        raise too_deep(limits) from None
    except ValueError as error:
        raise BodyRefused(Problem(400, f"The body is not JSON: {error}.")) from None
    require_modest(value, body, limits)
    return value


class JsonRoute(APIRoute):
    """A route that reads its requests as JsonRequest."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler, given our request."""
        handler, bodies = super().get_route_handler(), body_models(self.endpoint)
        declared = frozenset(name for body in bodies for name in declared_fields(body))
        objects = {name: known for body in bodies for name, known in declared_objects(body).items()}

        async def handle(request: Request) -> Response:
            scope = dict(request.scope)
            others = [(name, value) for name, value in scope["headers"] if name != b"content-type"]
            scope["headers"] = [*others, (b"content-type", b"application/json")]
            json_request = JsonRequest(scope, request.receive)
            json_request.declared, json_request.objects = declared, objects
            response = await handler(json_request)
            set_headers(json_request, response)
            return response

        return handle


def validation_problem(error: RequestValidationError) -> Problem:
    """Return which field of a body is invalid, and why."""
    places = [_place(one["loc"][1:], error.body, missing=one["type"] == "missing") for one in error.errors()]
    deepest = max(range(len(places)), key=lambda index: len(places[index]))  # of a union
    first, param = error.errors()[deepest], _written(places[deepest])
    message = str(first["msg"])
    return Problem(400, f"{param}: {message}." if param else f"{message}.", param=param or None)


def _place(location: tuple[int | str, ...], body: Any, *, missing: bool) -> list[int | str]:
    """Return a value's path in the body, without the union alternatives that pydantic inserts."""
    place, value = [], body
    for index, key in enumerate(location):
        there = isinstance(key, int) if isinstance(value, list) else isinstance(value, dict) and key in value
        last = index == len(location) - 1
        if there or (missing and last and isinstance(value, dict)):
            place.append(key)
            value = value[key] if there else None
    return place


def _written(place: list[int | str]) -> str:
    """Write a path in the notation of errors."""
    keys = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in place)
    return keys.removeprefix(".")
