"""The model that a request of Ollama's API names, and how long it stays loaded after the request (`keep_alive`)."""

from __future__ import annotations

import re
from typing import Final

from fastapi import Request

from glm_gguf.model import GLM
from glm_gguf.server.bodies.ignored_fields import note_ignored
from glm_gguf.server.bodies.wire import WireRequest
from glm_gguf.server.ollama.model_details import untagged
from glm_gguf.server.ollama.options import OllamaOptions
from glm_gguf.server.pool.pooled_model import LoadedModel
from glm_gguf.server.problem import Problem, Refused
from glm_gguf.server.service import Service

KeepAlive = int | float | str
UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
"""Unit of a duration in Go → seconds."""
LONGEST: Final = 2**63 / 1e9
"""Seconds of the longest duration in Go, 292 years; a longer one is for ever."""
_NUMBER: Final = r"(?:[0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})"
_PART: Final = re.compile(rf"({_NUMBER})(ns|us|µs|μs|ms|s|m|h)")
_DURATION: Final = re.compile(rf"([-+]?)(?:({_NUMBER})|((?:{_PART.pattern})+))")


def kept_seconds(keep_alive: KeepAlive | None) -> float | None:
    """Return seconds, negative for ever; None if nothing is asked for. Refused for text that is no duration of Go."""
    if keep_alive is None or keep_alive == "":
        return None
    seconds = _read(keep_alive) if isinstance(keep_alive, str) else keep_alive
    return -1.0 if seconds < 0 or seconds >= LONGEST else float(seconds)


class ModelRequest(WireRequest):
    """What all requests to a model share."""

    model: str | None = None
    """The model's name, with or without `:latest`; any name where the server has one model."""
    keep_alive: KeepAlive | None = None
    """How long the model stays loaded after the request: seconds, or a text such as 5m; negative: for ever."""
    options: OllamaOptions | None = None
    """Sampling, by Ollama's names."""

    def unmet(self, glm: GLM) -> list[str]:
        """Return the fields without effect."""
        return (self.options or OllamaOptions()).unmet(glm.n_ctx)


async def requested_model(service: Service, request: Request, body: ModelRequest) -> LoadedModel:
    """Return the model of a request, let it sleep when the request says, and note what the request asks in vain."""
    seconds = kept_seconds(body.keep_alive)  # refused before a model is loaded
    model = await service.model(request, untagged(body.model))
    if seconds is not None:
        service.pool.chosen(model.name).keep(None if seconds < 0 else seconds)
    note_ignored(request, body.unmet(model.glm))
    return model


def free_model(service: Service, body: ModelRequest) -> str:
    """Free a model when nobody uses it any more, and return its name; one that is not loaded is free."""
    model = service.pool.chosen(untagged(body.model))
    if model.loaded is not None:
        model.keep(0)
    return model.name


def _read(text: str) -> float:
    found = _DURATION.fullmatch(text.strip()) if len(text) <= 64 else None
    if found is None:
        what = f"{text[:40]!r} is no duration; give seconds as a number, or a text such as 5m"
        raise Refused(Problem(400, f"keep_alive: {what}.", param="keep_alive"))
    sign, number, parts = found[1], found[2], found[3]
    seconds = float(number) if number else sum(float(size) * UNITS[unit] for size, unit in _PART.findall(parts))
    return -seconds if sign == "-" else seconds
