"""The configuration as one value: file and variables together, each setting with the place that it comes from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

from glm_gguf.configuration.configuration_file import configuration_path, read_file
from glm_gguf.configuration.kinds import Value
from glm_gguf.configuration.settings import SETTINGS
from glm_gguf.configuration.variables import read_variables


class Origin(StrEnum):
    """Where a setting comes from."""

    VARIABLE = "variable"
    FILE = "file"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Configuration:
    """What file and environment set, key → value."""

    path: Path | None
    """The file, whether it exists or not; None where the environment asks for none."""
    in_file: Mapping[str, Value]
    in_environment: Mapping[str, Value]

    @classmethod
    def load(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read and check all of it; raises RequestError."""
        path = configuration_path(environment)
        in_file = {} if path is None else read_file(path, environment)
        return cls(path, in_file, read_variables(environment))

    def value(self, key: str) -> Value | None:
        """Return the value of a setting; None leaves it to its default."""
        return self.in_environment.get(key, self.in_file.get(key))

    def origin(self, key: str) -> Origin:
        """Tell where the value of a setting comes from."""
        if key in self.in_environment:
            return Origin.VARIABLE
        return Origin.FILE if key in self.in_file else Origin.DEFAULT

    def place(self, key: str) -> str:
        """Name the variable, or file and section, that sets a value."""
        setting = SETTINGS[key]
        return setting.variable if key in self.in_environment else f"{self.path}, {setting.place}"
