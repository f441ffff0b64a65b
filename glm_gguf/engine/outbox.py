"""What a step has for those who wait."""

from __future__ import annotations

from glm_gguf.engine.delivery import Delivery
from glm_gguf.engine.request import Ticket


class Outbox:
    """Deliveries that are handed out behind the step.

    A reader who woke while the others' tokens are drawn would take Python's lock from the engine's thread again and
    again.
    """

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: list[tuple[Ticket, Delivery]] = []

    def put(self, ticket: Ticket, delivery: Delivery) -> None:
        """Keep it until the step is done."""
        self._held.append((ticket, delivery))

    def hand_out(self) -> None:
        """Deliver everything, in order."""
        held, self._held = self._held, []
        for ticket, delivery in held:
            ticket.deliver(delivery)
