"""The model of a batch in this process: loaded again when it lost a worker, for a while."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from glm_gguf.batches.answer_lines import AnswerRequest
from glm_gguf.batches.result_line import Answer
from glm_gguf.errors import EngineError, GlmGgufError
from glm_gguf.model import GLM
from glm_gguf.server.app import create_app
from glm_gguf.server.in_process import InProcessClient, in_process
from glm_gguf.server.settings import ServerSettings

LOST_SECONDS: Final = 120.0
"""How long a batch waits for a lost worker."""
AGAIN: Final = "give the same command again: it goes on where it stopped"


@asynccontextmanager
async def batch_model(
    settings: ServerSettings, glm: GLM, load: Callable[[], GLM], lost_seconds: float = LOST_SECONDS
) -> AsyncIterator[AnswerRequest]:
    """Serve a loaded model to the requests of a batch; `load` loads it again. Free it at the end.

    Answering raises EngineError where a lost worker stays away so long.
    """
    model = _BatchModel(glm, load, lost_seconds)
    async with in_process(create_app(settings, model.open)) as client:

        async def answer(url: str, body: bytes) -> Answer:
            return await model.answer(client, url, body)

        yield answer


class _BatchModel:
    """Opens the model as often as its server asks; gives up when `lost_seconds` bring no worker back."""

    def __init__(self, glm: GLM, load: Callable[[], GLM], lost_seconds: float) -> None:
        """`glm` is what the first opening returns."""
        self._glm: GLM | None = glm
        self._load = load
        self._lost_seconds = lost_seconds
        self._lost_at: float | None = None
        self._given_up: EngineError | None = None

    def open(self) -> GLM:
        """Return the model, loaded again after the first time; raises GlmGgufError. The server's thread calls it."""
        if self._glm is not None:
            glm, self._glm = self._glm, None
            return glm
        self._lost_at = time.monotonic() if self._lost_at is None else self._lost_at
        try:
            glm = self._load()
        except GlmGgufError as error:
            if time.monotonic() - self._lost_at >= self._lost_seconds:
                self._given_up = self._lost(error)
            raise
        self._lost_at = None
        return glm

    async def answer(self, client: InProcessClient, url: str, body: bytes) -> Answer:
        """Return the response to a request; EngineError where it would have to wait for a worker for ever."""
        response = await client(url, body)
        if response.retry_after is not None and self._given_up is not None:
            raise self._given_up
        return response

    def _lost(self, error: GlmGgufError) -> EngineError:
        """Make the error of a worker that stays away, from why the model could not be loaded again."""
        what = (
            f"a worker was lost, and the model could not be loaded again within {self._lost_seconds:g} s: {error.what}"
        )
        fix = AGAIN if error.fix is None else f"{error.fix}, then {AGAIN}"
        return EngineError(what, path=error.path, where=error.where, fix=fix)
