"""How one model of the pool is loaded, saved and freed, on a thread beside the event loop."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from weakref import WeakSet

from glm_gguf.errors import EngineError, GlmGgufError, as_engine_error
from glm_gguf.llama.footprint import Footprint
from glm_gguf.model import GLM
from glm_gguf.server.pool.catalogue import Catalogue
from glm_gguf.server.pool.file_facts import FileFacts
from glm_gguf.server.pool.kept_prefixes import KeptPrefixes
from glm_gguf.server.pool.pooled_model import Asleep, LoadedModel, LoadFailed, Loading, PooledModel

LOGGER = logging.getLogger(__name__)
T = TypeVar("T")


class ModelLoader:
    """Loads the models of a catalogue with their prefixes. Its methods are for the event loop, one at a time."""

    def __init__(self, catalogue: Catalogue, kept: KeptPrefixes) -> None:
        self._catalogue = catalogue
        self._kept = kept
        self._thread = ThreadPoolExecutor(1, "glm-gguf-loading")
        """One thread: malloc keeps memory for every thread that has loaded a model."""
        self._freed: WeakSet[GLM] = WeakSet()

    async def load(self, model: PooledModel, beside: Sequence[Footprint]) -> None:
        """Load a model. An error becomes its state; without logging set up it goes to stderr."""
        model.state = Loading()
        try:
            model.load(await self._on_thread(self._opened, model.name, beside))
        except GlmGgufError as error:
            self.failed(model, error)
        except Exception as error:  # the outermost edge of that thread: nothing else would report it
            LOGGER.exception("Error: the model %s could not be loaded", model.name)
            model.state = LoadFailed(as_engine_error(error), time.monotonic())

    def failed(self, model: PooledModel, error: GlmGgufError) -> None:
        """Note why a model could not be loaded."""
        LOGGER.error("Error: the model %s could not be loaded: %s", model.name, error)
        model.state = LoadFailed(error, time.monotonic())

    async def save(self, model: PooledModel) -> None:
        """Save the prefixes of a model."""
        model.wants_saving = False
        if model.loaded is not None:
            await self._on_thread(self._kept.save, model.loaded.glm)

    async def free(self, model: PooledModel) -> None:
        """Save and free an idle model; who asks for it meanwhile waits in line."""
        loaded = model.loaded
        assert loaded is not None
        model.fall_asleep()
        self._freed.add(loaded.glm)
        await self._on_thread(self._kept.close, loaded.glm)
        LOGGER.info("the model %s was freed", model.name)

    def close(self, model: PooledModel) -> None:
        """Save and free a model at the end of the server; safe to call twice."""
        self._thread.shutdown(wait=False)
        model.stop_timer()
        if model.loaded is not None:
            self._kept.close(model.loaded.glm)
            model.state = Asleep()

    async def _on_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    def _opened(self, name: str, beside: Sequence[Footprint]) -> LoadedModel:
        """Open a model on a thread, take its fingerprint, and restore its prefixes; close it if that fails."""
        glm = self._catalogue.open(name, beside)
        if glm in self._freed:
            fix = "let the function that opens it load it each time, such as lambda: GLM(path)"
            raise EngineError("the server has freed this model, and got it again", fix=fix)
        try:
            self._kept.restore(glm)
            return LoadedModel(name, glm, f"fp_{glm.fingerprint()[:12]}", int(time.time()), FileFacts.of(glm.report))
        except BaseException:
            glm.close()
            raise
