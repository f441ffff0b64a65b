"""Typed access to the fields of config.json; every error names the field and its value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from glm_gguf.convert.source.json_file import short_repr
from glm_gguf.errors import ConfigError

FLOAT32 = (2.0**-126, 2.0**127)  # a GGUF stores float32: normal numbers only


@dataclass(frozen=True, slots=True)
class ConfigFields:
    """A JSON object and the place that an error names. A default stands for a field that is missing or null."""

    raw: dict[str, Any]
    where: str

    def natural(self, key: str, default: int | None = None) -> int:
        """A whole number from 1 on."""
        value = self._get(key, default)
        if type(value) is not int or not 0 < value < 2**31:
            raise ConfigError(f"{key} is {short_repr(value)}, a positive whole number is needed", path=self.where)
        return value

    def positive(self, key: str, default: float | None = None) -> float:
        """A number that a float32 holds, above 0."""
        value = self._get(key, default)
        if type(value) not in (int, float) or not FLOAT32[0] <= value <= FLOAT32[1]:
            raise ConfigError(f"{key} is {short_repr(value)}, a positive number is needed", path=self.where)
        return float(value)

    def optional(self, key: str) -> float | None:
        """A number above 0, or None."""
        return None if self.raw.get(key) is None else self.positive(key)

    def boolean(self, key: str, default: bool | None = None) -> bool:
        """True or false."""
        value = self._get(key, default)
        if type(value) is not bool:
            raise ConfigError(f"{key} is {short_repr(value)}, true or false is needed", path=self.where)
        return value

    def _get(self, key: str, default: Any) -> Any:
        value = self.raw.get(key)
        if value is None and default is None:
            raise ConfigError(f"{key} is missing", path=self.where, fix="take the checkpoint's own config.json")
        return default if value is None else value
