"""The batch under way, if it is computed for one request alone: nobody else loses when it is given up."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from glm_gguf.engine.request import Ticket

LARGE: Final = 32
"""Tokens from which on a batch is worth not waiting for."""


class LoneBatch:
    """The engine's thread tells when a batch begins and ends; any thread asks."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ticket: Ticket | None = None
        self._n_tokens = 0
        self._begun = 0.0
        self._pace = 0.0  # seconds that a token of a large batch took last
        self._half = 0.0  # the time at which half of this one will be computed, if it gives way until then
        self._given_up = False

    def begin(self, ticket: Ticket | None, n_tokens: int) -> None:
        """Note a batch, which is for one request or for several (None)."""
        self._ticket = ticket
        self._n_tokens = n_tokens
        self._begun = self._clock()
        gives_way = ticket is not None and n_tokens >= LARGE and not self._given_up
        self._half = self._begun + self._pace * n_tokens / 2 if gives_way else 0.0

    def end(self, *, done: bool) -> None:
        """Note that it was computed, or given up."""
        self._ticket = None
        self._half = 0.0
        self._given_up = not done
        if done and self._n_tokens >= LARGE:
            self._pace = (self._clock() - self._begun) / self._n_tokens

    def is_for(self, ticket: Ticket) -> bool:
        """Tell whether it holds nothing but tokens of a request."""
        return self._ticket is ticket

    @property
    def gives_way(self) -> bool:
        """Less than half of it is computed, and a newcomer would wait long for the rest.

        The one that follows does not, so that there is an end to it, whoever comes and goes.
        """
        return self._clock() < self._half
