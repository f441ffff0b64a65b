"""How often, and after which waits, a failed request is repeated."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from glm_gguf.errors import TransferError

T = TypeVar("T")

LONG_WAIT = 5.0  # seconds; a longer wait is logged with its reason
PROGRESS = 2**20
"""Bytes after which a broken request counts as the first failure again."""


_log = logging.getLogger(__name__)


class Fault(Exception):
    """A failed request: what happened, the wait that the server asks for, whether a retry is useless, and the fix."""

    def __init__(self, what: str, *, wait: float | None = None, final: bool = False, fix: str | None = None) -> None:
        super().__init__(what)
        self.what, self.wait, self.final, self.fix = what, wait, final, fix


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Six tries, with waits in seconds that double; a server may ask for a wait of up to five minutes."""

    sleep: Callable[[float], bool] = field(repr=False)
    """Waits the seconds, and returns True if it was told to stop: an Event's `wait`."""
    tries: int = 6
    first: float = 1.0
    longest: float = 30.0
    longest_asked: float = 330.0  # the hubs count requests in windows of five minutes

    def wait_after(self, failures: int, fault: Fault, where: str) -> None:
        """Wait until the next try; raises TransferError if there is none."""
        if fault.final:
            raise TransferError(fault.what, path=where, fix=fault.fix)
        if failures >= self.tries:
            raise TransferError(f"{fault.what}, after {failures} tries", path=where, fix="try again later")
        seconds = min(self.longest, self.first * 2 ** (failures - 1)) if fault.wait is None else fault.wait
        if seconds > self.longest_asked:
            raise TransferError(f"{fault.what}, and asks to wait {seconds:.0f} s", path=where, fix="try again then")
        if seconds >= LONG_WAIT:
            _log.warning("%s: %s; trying again in %.0f s", where, fault.what, seconds)
        if self.sleep(seconds):
            raise TransferError("was not fetched: the conversion ended", path=where)


def retry(attempt: Callable[[], T], policy: RetryPolicy, where: str) -> T:
    """Call `attempt` until it raises no Fault, and return its result; raises TransferError after the last try."""
    failures = 0
    while True:
        try:
            return attempt()
        except Fault as fault:
            failures += 1
            policy.wait_after(failures, fault, where)


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds that a refusal asks for: Retry-After in both its forms, or the hub's own RateLimit ("…;r=0;t=55")."""
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,6}", value):
        return float(value)
    try:
        now: datetime = parsedate_to_datetime(headers.get("date", ""))
        return max(0.0, (parsedate_to_datetime(value) - now).total_seconds())
    except (ValueError, TypeError):
        limit = re.search(r"\br=0\s*;\s*t=(\d{1,6})\b", headers.get("ratelimit", ""))
        return float(limit[1]) + 1 if limit else None
