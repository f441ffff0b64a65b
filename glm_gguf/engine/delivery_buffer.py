"""The deliveries of one step, kept until the step is done."""

from __future__ import annotations

import logging

from glm_gguf.engine.delivery import Delivery
from glm_gguf.engine.request import RequestHandle

LOGGER = logging.getLogger(__name__)


class DeliveryBuffer:
    """Deliveries in order; the scheduler flushes them after all sequences are sampled.

    A reader that wakes earlier competes with the sampler for Python's lock.
    """

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: list[tuple[RequestHandle, Delivery]] = []

    def put(self, handle: RequestHandle, delivery: Delivery) -> None:
        """Keep a delivery until the next flush."""
        self._held.append((handle, delivery))

    def flush(self) -> None:
        """Deliver everything in order; a callback that raises cancels its own answer alone."""
        held, self._held = self._held, []
        for handle, delivery in held:
            try:
                handle.deliver(delivery)
            except Exception:
                LOGGER.exception("the callback of an answer raised; the answer ends")
                handle.cancelled = True
