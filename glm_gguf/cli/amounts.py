"""Options that take a time or a size: 90s, 10m, 2h; 500M, 4G."""

from __future__ import annotations

from typing import Any, Final

import click

from glm_gguf import amounts


class Amount(click.ParamType[float]):
    """A positive number with a unit."""

    def __init__(self, unit: amounts.Unit) -> None:
        self.name = unit.name
        self._unit = unit

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number in seconds or bytes."""
        if isinstance(value, int | float):
            return value
        amount = self._unit.parse(value)
        if amount is None:
            self.fail(f"{value!r} is no {self.name}; write {self._unit.examples}.", param, ctx)
        return amount


TIME: Final = Amount(amounts.TIME)
SIZE: Final = Amount(amounts.SIZE)
