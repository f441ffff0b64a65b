"""One model of the pool: asleep, loading, loaded or failed; who uses it, and who waits for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal

from glm_gguf.errors import GlmGgufError
from glm_gguf.model import GLM
from glm_gguf.server.pool.file_facts import FileFacts
from glm_gguf.variant import Variant

StateName = Literal["asleep", "loading", "ready", "degraded", "failed"]


@dataclass(frozen=True, slots=True)
class Asleep:
    """The model is not loaded; the next request loads it."""


@dataclass(frozen=True, slots=True)
class Loading:
    """The model is loading."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """The model answers, under a name."""

    name: str
    glm: GLM
    fingerprint: str
    since: int
    """Seconds since 1970."""
    facts: FileFacts


@dataclass(frozen=True, slots=True)
class Description:
    """What is known of a model that was loaded once."""

    n_ctx: int
    variant: Variant
    since: int
    """When it was loaded last, in seconds since 1970."""
    facts: FileFacts


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """The model could not be loaded."""

    error: GlmGgufError
    at: float
    """Seconds of the monotonic clock."""


@dataclass(frozen=True, slots=True)
class Waiter:
    """A request in line. `held` is closed when its response ends, which also ends its use of the model."""

    turn: asyncio.Future[LoadedModel]
    held: ExitStack


class PooledModel:
    """A model by name, and its state. Only the event loop changes it."""

    def __init__(self, name: str, sleep_after: float | None, wake: Callable[[], None]) -> None:
        """`wake` is called when it may fall asleep."""
        self.name = name
        self._default_sleep_after = sleep_after
        self._wake = wake
        self.state: Asleep | Loading | LoadedModel | LoadFailed = Asleep()
        self.uses = 0
        """Requests whose response has not ended."""
        self.used_at = 0.0
        """When a use began or ended last, by the monotonic clock."""
        self.sleep_after = sleep_after
        """Seconds without a use after which it falls asleep; None for never. `keep` changes it until then."""
        self.waiters: list[Waiter] = []
        self.description: Description | None = None
        """None before it was loaded."""
        self.loads = 0
        """How often it was loaded."""
        self._timer: asyncio.TimerHandle | None = None
        self._unused = False
        self.recovers = False
        """It lost a worker, and is being loaded again until that succeeds."""
        self.wants_saving = False
        """Its prefixes should be saved now."""
        self._save_timer: asyncio.TimerHandle | None = None

    def load(self, loaded: LoadedModel) -> None:
        """Note that it was loaded."""
        self.state = loaded
        self.description = Description(loaded.glm.n_ctx, loaded.glm.variant, loaded.since, loaded.facts)
        self.loads += 1
        self.used_at = time.monotonic()

    @property
    def loaded(self) -> LoadedModel | None:
        """The loaded model, whether its engine still answers or not; None for none."""
        return self.state if isinstance(self.state, LoadedModel) else None

    @property
    def answers(self) -> bool:
        """The model is loaded, and its engine has not failed."""
        return self.loaded is not None and not self.loaded.glm.status.failed

    @property
    def lost_worker(self) -> bool:
        """The model is loaded, and a worker that holds layers of it was lost."""
        return self.loaded is not None and self.loaded.glm.status.worker_lost is not None

    @property
    def state_name(self) -> StateName:
        """The state as /health, /metrics and /v1/models name it."""
        if self.recovers or self.lost_worker:
            return "degraded"
        match self.state:
            case Asleep():
                return "asleep"
            case Loading():
                return "loading"
        return "ready" if self.answers else "failed"

    @property
    def is_idle(self) -> bool:
        """The model is loaded, and no request uses it or waits for it."""
        return self.loaded is not None and not self.uses and not self.waiters

    @property
    def may_sleep(self) -> bool:
        """Nobody has used it for `sleep_after` seconds."""
        return self._unused and self.is_idle

    @property
    def seconds_left(self) -> float | None:
        """Seconds until it falls asleep if no request comes; None for never."""
        if self.sleep_after is None:
            return None
        return self.sleep_after - (0 if self.uses else time.monotonic() - self.used_at)

    def begin_use(self) -> None:
        """Count a use."""
        self.uses += 1
        self.used_at = time.monotonic()
        self.stop_timer()

    def end_use(self) -> None:
        """Count a use no more."""
        self.uses -= 1
        self.used_at = time.monotonic()

    def keep(self, seconds: float | None) -> None:
        """Let it fall asleep after so many seconds without a use, never for None; that holds until it is freed."""
        self.sleep_after = seconds
        self.start_timer()

    def start_timer(self) -> None:
        """Wake the pool when nobody has used it for `sleep_after` seconds."""
        self.stop_timer()
        if self.sleep_after is not None and self.is_idle:
            self._timer = asyncio.get_running_loop().call_later(self.sleep_after, self._expire)

    def stop_timer(self) -> None:
        """Stop that timer."""
        self._unused = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def start_saving(self, seconds: float, then: Callable[[], None]) -> None:
        """Mark it as not saved, and call `then` in so many seconds; sooner if that was asked before."""
        loop = asyncio.get_running_loop()
        if self._save_timer is not None and self._save_timer.when() > loop.time() + seconds:
            self._save_timer.cancel()
            self._save_timer = None
        if self._save_timer is None:
            self._save_timer = loop.call_later(seconds, self._save_now, then)

    def fall_asleep(self) -> None:
        """Note that it is not loaded any more."""
        self.state = Asleep()
        self.stop_timer()
        self.sleep_after = self._default_sleep_after

    def _save_now(self, then: Callable[[], None]) -> None:
        self._save_timer, self.wants_saving = None, True
        then()

    def _expire(self) -> None:
        self._unused = True
        self._wake()
