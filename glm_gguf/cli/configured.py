"""The configuration's part in a command: settings in the place of options that were not given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import click
from click.core import ParameterSource

from glm_gguf.errors import GlmGgufError


@dataclass(frozen=True, slots=True)
class Configured:
    """The values of a command's parameters, and where those come from that the command line left out."""

    values: Mapping[str, Any]
    places: Mapping[str, str]

    @classmethod
    def of(cls, context: click.Context, given: Mapping[str, Any]) -> Self:
        """Take the configured value of each option that the command line leaves out; raises RequestError.

        API keys add up, so that those of the command line replace none.
        """
        from glm_gguf.configuration.configuration import Configuration

        configuration = Configuration.load()
        values, places = dict(given), {}
        for name, key in _keys(context.command).items():
            value = configuration.value(key)
            if value is None or name not in values:
                continue
            if key == "api-key":
                values[name] = (*values[name], value)
            elif context.get_parameter_source(name) is ParameterSource.DEFAULT:
                values[name], places[name] = value, configuration.place(key)
        return cls(values, places)

    @contextmanager
    def told(self) -> Iterator[None]:
        """Let an error about a configured value say where that is set."""
        try:
            yield
        except GlmGgufError as error:
            place = self.places.get({"devices": "device"}.get(error.field or "", error.field or ""))
            if place is not None:
                error.fix = f"{error.fix or 'change it'} (it is set by {place})"
            raise


def _keys(command: click.Command) -> dict[str, str]:
    """Return the parameters that are settings: name of the parameter → key."""
    from glm_gguf.configuration.settings import SETTINGS

    keys = {
        str(parameter.name): option.removeprefix("--")
        for parameter in command.params
        for option in parameter.opts
        if option.removeprefix("--") in SETTINGS
    }
    return keys
