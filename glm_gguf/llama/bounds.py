"""Bounds of the numbers that a caller may give, as data: the checks, the server's fields and the page share them."""

from __future__ import annotations

from dataclasses import dataclass

from glm_gguf.errors import RequestError

MOST_INTEGER = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Bounds:
    """The numbers from `minimum` to `maximum`, both allowed; `whole` admits no fraction."""

    minimum: float
    maximum: float
    whole: bool = False

    def check(self, field: str, value: object) -> None:
        """Raise RequestError unless `value` is such a number. None passes; True is no number."""
        if value is None:
            return
        fix = f"give {self.minimum} to {self.maximum}"
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
            raise RequestError(f"{value!r} is no {'whole ' if self.whole else ''}number", field=field, fix=fix)
        if not self.minimum <= value <= self.maximum:
            raise RequestError(f"{value!r} is out of range", field=field, fix=fix)
