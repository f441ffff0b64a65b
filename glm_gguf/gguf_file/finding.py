"""A problem of a well-formed GGUF, or advice about it, and the changes of keys that put it right."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from glm_gguf.gguf_file.values import Scalar, Text, Value, plain_value


class Severity(StrEnum):
    """PROBLEM: the model answers wrongly or not at all. ADVICE: it needs care."""

    PROBLEM = "problem"
    ADVICE = "advice"


class OfficialTemplate:
    """Stands for the chat template of the model's variant."""


@dataclass(frozen=True, slots=True)
class KeyChange:
    """A key and the value that it should have; None removes it."""

    key: str
    value: Value | OfficialTemplate | None


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, why it matters, and how to correct it."""

    severity: Severity
    what: str
    why: str
    mend: str
    changes: tuple[KeyChange, ...] = ()
    """What puts it right where keys alone are at fault."""

    def __post_init__(self) -> None:
        if not (self.what and self.why and self.mend):
            raise ValueError("a finding says what, why and how to correct it")


CONVERT_AGAIN = "convert the checkpoint again with glm-gguf convert"


def problem(what: str, why: str, mend: str = CONVERT_AGAIN, changes: tuple[KeyChange, ...] = ()) -> Finding:
    """A finding that makes the model's answers wrong, or keeps it from loading."""
    return Finding(Severity.PROBLEM, what, why, mend, changes)


def advice(what: str, why: str, mend: str, changes: tuple[KeyChange, ...] = ()) -> Finding:
    """A finding that glm-gguf copes with, or that matters in some uses only."""
    return Finding(Severity.ADVICE, what, why, mend, changes)


def sets(key: str, value: Value) -> tuple[str, tuple[KeyChange, ...]]:
    """Say that glm-gguf mend sets a key, and how."""
    shown = plain_value(value) if isinstance(value, Scalar | Text) else "its right values"
    return f"glm-gguf mend sets {key} to {str(shown).lower()}; or {CONVERT_AGAIN}", (KeyChange(key, value),)


def removes(key: str) -> tuple[str, tuple[KeyChange, ...]]:
    """Say that glm-gguf mend removes a key."""
    return "glm-gguf mend removes the key", (KeyChange(key, None),)
