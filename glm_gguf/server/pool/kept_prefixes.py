"""Prefixes of the pool's models in a directory: restored when a model is loaded, saved while it is idle."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from glm_gguf.engine.session_directory import SessionDirectory
from glm_gguf.errors import GlmGgufError
from glm_gguf.model import GLM
from glm_gguf.server.pool.pooled_model import PooledModel

LOGGER = logging.getLogger(__name__)
IDLE_SECONDS: Final = 2.0
"""How long after an answer its prefix is saved, where the model is idle then."""
BUSY_SECONDS: Final = 60.0
"""The same where the model is never idle: to save costs the answers time."""


class KeptPrefixes:
    """A directory of prefixes, or none. Threads call `restore` and `save`; an error there is logged, and no more."""

    def __init__(self, directory: SessionDirectory | None) -> None:
        self._directory = directory

    def restore(self, glm: GLM) -> None:
        """Fill the cache of a model that was loaded."""
        if self._directory is not None:
            try:
                n_tokens = self._directory.restore(glm.sessions())
                LOGGER.info("%d tokens of earlier conversations were restored", n_tokens)
            except GlmGgufError as error:
                LOGGER.warning("prefixes were not restored: %s", error)

    def save(self, glm: GLM) -> None:
        """Save the prefixes of a model."""
        if self._directory is not None:
            try:
                self._directory.save(glm.sessions())
            except GlmGgufError as error:
                LOGGER.warning("prefixes were not saved: %s", error)

    def close(self, glm: GLM) -> None:
        """Save the prefixes of a model, and free it."""
        try:
            self.save(glm)
        finally:
            glm.close()

    def save_later(self, model: PooledModel, then: Callable[[], None]) -> None:
        """Call `then` when the prefixes of a model that was just used should be saved."""
        if self._directory is not None:
            model.start_saving(BUSY_SECONDS if model.uses else IDLE_SECONDS, then)
