"""One request to continue a prompt, and its handle while it is under way."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from glm_gguf.engine.constraint import Constraint
from glm_gguf.engine.delivery import AnswerFailed, Delivery, Ended
from glm_gguf.errors import RequestError
from glm_gguf.llama.engine_options import Scales
from glm_gguf.llama.sampling_params import SamplingParams


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt as token ids, and how to continue it."""

    prompt: tuple[int, ...]
    sampling: SamplingParams
    constraint: Constraint | None = None
    deadline: float = math.inf
    """Time of time.monotonic() at which the answer ends, complete or not."""
    scales: Scales = ()
    """One for each of the model's LoRA adapters."""

    def __post_init__(self) -> None:
        if not self.prompt:
            raise RequestError("the prompt is empty", fix="give at least one token")


class RequestHandle:
    """A request that waits or runs: the engine's thread delivers to it, any thread may set `cancelled`."""

    __slots__ = ("_deliver", "_over", "cancelled", "request")

    def __init__(
        self,
        request: Request,
        deliver: Callable[[Delivery], None],
        over: Callable[[RequestHandle], object] = lambda _: None,
    ) -> None:
        self.request = request
        self.cancelled = False
        self._deliver = deliver
        self._over = over

    def deliver(self, delivery: Delivery) -> None:
        """Call the reader back; `over` is called before the last delivery."""
        if isinstance(delivery, Ended | AnswerFailed):
            self._over(self)
        self._deliver(delivery)
