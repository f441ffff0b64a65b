"""Which models are loaded: on demand, as many at once as fit; the least recently used idle one is freed first."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import ExitStack
from typing import Final

from glm_gguf.errors import DeadlineError, GlmGgufError
from glm_gguf.server.pool.catalogue import Catalogue
from glm_gguf.server.pool.kept_prefixes import KeptPrefixes
from glm_gguf.server.pool.model_loader import ModelLoader
from glm_gguf.server.pool.pooled_model import LoadedModel, LoadFailed, PooledModel, Waiter
from glm_gguf.server.pool.recovery import Recovery
from glm_gguf.server.problem import (
    ENDING,
    FAILED,
    LOADING,
    NOT_LOADED,
    UNEXPECTED,
    WORKER_LOST,
    Refused,
    full_queue,
    load_problem,
    no_model_named,
    unknown_model,
)
from glm_gguf.server.settings import ServerSettings

LOGGER = logging.getLogger(__name__)
RELOAD_SECONDS: Final = 5.0
"""How long a model that could not be loaded is not tried again: each attempt may free others."""


class ModelPool:
    """The models of a server. Its methods are for the event loop; one task loads and frees, one model at a time.

    A request that finds its model loaded is admitted at once. Any other waits in line; models are loaded in the order
    of the first request that waits for each, and then admit all that wait for them. A model that is to be freed for
    another admits nobody meanwhile, so that no stream of requests keeps the others out.
    """

    def __init__(self, catalogue: Catalogue, settings: ServerSettings) -> None:
        self.catalogue = catalogue
        self._settings = settings
        self._kept = KeptPrefixes(settings.sessions)
        self._loader = ModelLoader(catalogue, self._kept)
        self._models: dict[str, PooledModel] = {}
        self._line: dict[str, PooledModel] = {}
        self._leaving: PooledModel | None = None
        """It is freed as soon as it is idle, and admits nobody."""
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._ending = False
        self.start_failed = False
        """The one model of the server could not be loaded at the start."""
        self.since = int(time.time())
        """When the server began, in seconds since 1970."""
        self._starting = catalogue.only is not None
        self._recovery = Recovery(self._turn)

    @property
    def loaded(self) -> list[LoadedModel]:
        """The models in memory."""
        return [model.loaded for model in list(self._models.values()) if model.loaded is not None]

    def models(self) -> list[PooledModel]:
        """Return all models of the catalogue, in its order, each with its state."""
        return [self._model(name) for name in self.catalogue.names()]

    async def start(self) -> None:
        """Load the one model of a server that has no other."""
        if self.catalogue.only is not None:
            model = self._model(self.catalogue.only)
            await self._load(model)
            self.start_failed = isinstance(model.state, LoadFailed)
            self._starting = False

    async def acquire(self, name: str | None, held: ExitStack) -> LoadedModel:
        """Return the model of a request, which stays loaded until `held` is closed; wait for it where need be.

        Refused for an unknown name, a line that is full, or a model that cannot be loaded; DeadlineError after
        `loading_seconds`.
        """
        model = self.chosen(name)
        self._require_loadable(model)
        if model.answers and model is not self._leaving:
            return self._admitted(model, held)
        return await self._turn(model, held)

    def chosen(self, name: str | None) -> PooledModel:
        """Return the model that a request names; Refused where there is none."""
        if self.catalogue.only is not None:
            return self._model(self.catalogue.only)
        if name is None:
            raise Refused(no_model_named(self.catalogue.names()))
        found = self.catalogue.find(name)
        if found is None:
            raise Refused(unknown_model(name, self.catalogue.names()))
        return self._model(found)

    async def stop(self) -> None:
        """Refuse all that wait, and wait until nothing is being loaded or freed."""
        self._ending = True
        self._recovery.stop()
        self._wake()
        if self._task is not None:
            await self._task

    def close(self) -> None:
        """Free all models; safe to call twice."""
        for model in self._models.values():
            self._loader.close(model)

    def _model(self, name: str) -> PooledModel:
        if name not in self._models:
            self._models[name] = PooledModel(name, self._settings.sleep_after, self._wake)
        return self._models[name]

    def require_started(self) -> None:
        """Refuse a request while the one model of a server loads, and if it could not be loaded or failed."""
        if self._starting:
            raise Refused(LOADING)
        if self.start_failed:
            raise Refused(NOT_LOADED)
        if (only := self.catalogue.only) is not None:
            model = self._model(only)
            if model.state_name == "degraded":
                raise Refused(WORKER_LOST)
            if model.loaded is not None and not model.answers:
                raise Refused(FAILED)

    def _require_loadable(self, model: PooledModel) -> None:
        """Refuse a request that no model can answer now, or whose model failed to load a moment ago."""
        self.require_started()
        if self._ending:
            raise Refused(ENDING)
        if isinstance(model.state, LoadFailed) and time.monotonic() - model.state.at < RELOAD_SECONDS:
            raise Refused(load_problem(model.name, model.state.error))

    def _admitted(self, model: PooledModel, held: ExitStack) -> LoadedModel:
        """Count a use of a loaded model, up to the end of the request."""
        assert model.loaded is not None
        model.begin_use()
        held.callback(self._release, model)
        return model.loaded

    def _release(self, model: PooledModel) -> None:
        model.end_use()
        model.start_timer()
        self._kept.save_later(model, self._wake)
        self._changed.set()

    async def _turn(self, model: PooledModel, held: ExitStack) -> LoadedModel:
        """Wait in line for a model."""
        limits = self._settings.limits
        if sum(len(waiting.waiters) for waiting in self._line.values()) >= limits.preparing:
            raise Refused(full_queue(f"{limits.preparing} requests wait for a model already; try again later."))
        waiter = Waiter(asyncio.get_running_loop().create_future(), held)
        model.waiters.append(waiter)
        self._line.setdefault(model.name, model)
        self._wake()
        try:
            async with asyncio.timeout(limits.loading_seconds):
                return await waiter.turn
        except TimeoutError:
            raise DeadlineError("the model could not be loaded in time", fix="try again later") from None
        finally:
            if waiter in model.waiters:
                model.waiters.remove(waiter)
            self._changed.set()

    def _wake(self) -> None:
        """Let the task look what there is to do."""
        self._changed.set()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._work())

    # The task runs all that follows.

    async def _work(self) -> None:
        """Load what is waited for and free what may sleep, until there is nothing left to do."""
        try:
            while True:
                sleepy = [model for model in self._models.values() if model.may_sleep]
                unsaved = [model for model in self._models.values() if model.wants_saving]
                if self._ending:
                    break
                if sleepy:
                    await self._loader.free(sleepy[0])
                elif unsaved and not self._line:
                    await self._loader.save(unsaved[0])
                elif self._line:
                    await self._serve(next(iter(self._line.values())))
                else:
                    return
        except Exception:  # the outermost edge of this task: whoever waits must hear of it
            LOGGER.exception("the pool of models failed")
        for model in list(self._line.values()):
            self._refuse(model, Refused(ENDING if self._ending else UNEXPECTED))
        self._line.clear()

    async def _serve(self, model: PooledModel) -> None:
        """Load a model for those who wait for it, and admit them."""
        try:
            if await self._has_room(model) and not model.answers:
                await self._load(model)
        except GlmGgufError as error:
            self._loader.failed(model, error)
        finally:
            self._line.pop(model.name, None)
        if model.answers:
            self._admit_all(model)
        elif isinstance(model.state, LoadFailed):
            self._refuse(model, Refused(load_problem(model.name, model.state.error)))
        elif model.waiters:  # somebody came after the last one had left
            self._line[model.name] = model

    async def _has_room(self, model: PooledModel) -> bool:
        """Free models until this one fits; False where nobody waits for it any more."""
        try:
            while model.waiters and not self._ending:
                if model.answers:
                    return True
                if not (others := await self._in_the_way(model)):
                    return True
                idle = [other for other in others if not other.uses]
                if idle:
                    await self._loader.free(min(idle, key=lambda other: other.used_at))
                else:
                    self._leaving = min(others, key=lambda other: other.used_at)
                    self._changed.clear()
                    await self._changed.wait()
            return False
        finally:
            stayed, self._leaving = self._leaving, None
            if stayed is not None and stayed.answers and stayed is not model:
                self._line.pop(stayed.name, None)
                self._admit_all(stayed)

    async def _in_the_way(self, model: PooledModel) -> list[PooledModel]:
        """Return the loaded models of which one must go; none where the model fits."""
        if model.loaded is not None:  # its engine failed
            return [model]
        loaded = [other for other in self._models.values() if other.loaded is not None]
        most = self._settings.most_models
        if not loaded or (most is not None and len(loaded) >= most):
            return loaded
        beside = [one.glm.footprint for one in self.loaded]
        return [] if await asyncio.to_thread(self.catalogue.fits, model.name, beside) else loaded

    async def _load(self, model: PooledModel) -> None:
        """Load a model, and let it fall asleep if nobody uses it."""
        await self._loader.load(model, [loaded.glm.footprint for loaded in self.loaded])
        model.start_timer()
        if self.catalogue.only is not None:
            self._recovery.watch(model)

    def _admit_all(self, model: PooledModel) -> None:
        """Admit all that wait for a loaded model; where all have left, it may fall asleep."""
        waiters, model.waiters = model.waiters, []
        for waiter in waiters:
            if not waiter.turn.done():
                waiter.turn.set_result(self._admitted(model, waiter.held))
        model.start_timer()

    def _refuse(self, model: PooledModel, refused: Refused) -> None:
        """Refuse all that wait for a model."""
        waiters, model.waiters = model.waiters, []
        for waiter in waiters:
            if not waiter.turn.done():
                waiter.turn.set_exception(Refused(refused.problem))
