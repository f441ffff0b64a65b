"""A model that lost a worker is loaded again, as soon as the worker answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Final

from glm_gguf.errors import GlmGgufError
from glm_gguf.server.pool.pooled_model import LoadedModel, PooledModel
from glm_gguf.server.problem import Refused

LOGGER = logging.getLogger(__name__)
WATCH_SECONDS: Final = 0.5
"""How often a model is asked whether it lost a worker; no request may come that would tell."""
FIRST_SECONDS: Final = 1.0
MOST_SECONDS: Final = 30.0
"""How long to wait before the next attempt: twice as long each time, up to so long."""

Turn = Callable[[PooledModel, ExitStack], Awaitable[LoadedModel]]
"""Waits for a model as a request does, which loads it."""


class Recovery:
    """Watches loaded models that have workers. Its methods are for the event loop."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._tasks: set[asyncio.Task[None]] = set()

    def watch(self, model: PooledModel) -> None:
        """Load a model again when it loses a worker; nothing where it was not loaded, or has none."""
        loaded = model.loaded
        if loaded is not None and loaded.glm.footprint.workers and not model.recovers:
            task = asyncio.get_running_loop().create_task(self._watch(model, loaded))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        """Watch no model any more."""
        for task in self._tasks:
            task.cancel()

    async def _watch(self, model: PooledModel, loaded: LoadedModel) -> None:
        """Wait until this model loses a worker, or is freed; then load it until that succeeds."""
        while model.loaded is loaded and not model.lost_worker:
            await asyncio.sleep(WATCH_SECONDS)
        if model.loaded is not loaded:
            return
        why = loaded.glm.status.worker_lost
        LOGGER.error("the model %s lost a worker (%s); it is loaded again when the worker answers", model.name, why)
        model.recovers = True
        try:
            await self._recover(model)
        finally:
            model.recovers = False
        LOGGER.warning("the model %s is loaded again", model.name)
        self.watch(model)

    async def _recover(self, model: PooledModel) -> None:
        seconds = FIRST_SECONDS
        while True:
            with ExitStack() as held:
                try:
                    await self._turn(model, held)
                except (Refused, GlmGgufError):  # the loader has logged why
                    await asyncio.sleep(seconds)
                    seconds = min(2 * seconds, MOST_SECONDS)
                else:
                    return
