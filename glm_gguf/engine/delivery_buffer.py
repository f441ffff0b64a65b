"""What a step has for those who wait."""

from __future__ import annotations

import logging

from glm_gguf.engine.delivery import Delivery
from glm_gguf.engine.request import RequestHandle

LOGGER = logging.getLogger(__name__)


class DeliveryBuffer:
    """Deliveries that are handed out behind the step.

    A reader who woke while the others' tokens are drawn would take Python's lock from the engine's thread again and
    again.
    """

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: list[tuple[RequestHandle, Delivery]] = []

    def put(self, handle: RequestHandle, delivery: Delivery) -> None:
        """Keep it until the step is done."""
        self._held.append((handle, delivery))

    def flush(self) -> None:
        """Deliver everything, in order; who cannot take it is cancelled, and keeps nothing from the others."""
        held, self._held = self._held, []
        for handle, delivery in held:
            try:
                handle.deliver(delivery)
            except Exception:
                LOGGER.exception("an answer could not be delivered; it is stopped")
                handle.cancelled = True
