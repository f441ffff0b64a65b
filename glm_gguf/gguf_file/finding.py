"""A problem of a well-formed GGUF, or advice about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """PROBLEM: the model answers wrongly or not at all. ADVICE: it needs care."""

    PROBLEM = "problem"
    ADVICE = "advice"


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, why it matters, and how to correct it."""

    severity: Severity
    what: str
    why: str
    mend: str

    def __post_init__(self) -> None:
        if not (self.what and self.why and self.mend):
            raise ValueError("a finding says what, why and how to correct it")


CONVERT_AGAIN = "convert the checkpoint again with glm-gguf convert"


def problem(what: str, why: str, mend: str = CONVERT_AGAIN) -> Finding:
    """A finding that makes the model's answers wrong, or keeps it from loading."""
    return Finding(Severity.PROBLEM, what, why, mend)


def advice(what: str, why: str, mend: str) -> Finding:
    """A finding that glm-gguf copes with, or that matters in some uses only."""
    return Finding(Severity.ADVICE, what, why, mend)
