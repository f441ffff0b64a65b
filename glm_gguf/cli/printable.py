"""Texts of others for a terminal: their control characters are shown, not obeyed."""

from __future__ import annotations

import re
from typing import Final

CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""All but the newline and the tab; also those that turn the direction of writing."""


def printable(text: str) -> str:
    r"""Return a text with its control characters as \x1b."""
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
