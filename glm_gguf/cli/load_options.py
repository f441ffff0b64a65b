"""Options that decide how a model is loaded and run, for commands that choose the context themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from typing import Any

from glm_gguf.cli.model_options import (
    ENGINE_OPTIONS,
    Decorator,
    device_option,
    field_option,
    given_options,
    option_name,
)
from glm_gguf.llama.engine_options import EngineOptions

ENGINE = "Model and engine"
FIELDS = ("n_parallel", "n_gpu_layers", "threads", "threads_batch", "cache_type_k", "cache_type_v", "yarn")
ROWS = tuple(row for row in ENGINE_OPTIONS if row[0] in FIELDS)


@dataclass(frozen=True, slots=True)
class LoadChoice:
    """Options of the engine as they were given."""

    given: dict[str, Any]

    @property
    def options(self) -> EngineOptions:
        """The options, with defaults for the others; RequestError for one that makes no sense."""
        return EngineOptions(**self.given)

    def words(self) -> Iterator[str]:
        """Spell the given options, so that another command can be told them."""
        for name, value in self.given.items():
            values = value if name == "devices" else (value,)
            for each in values:
                yield from ("--device" if name == "devices" else option_name(name), str(each))


def load_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options; the command gets them as one LoadChoice, `choice`."""

    @wraps(command)
    def with_choice(device: tuple[str, ...], **given: Any) -> None:
        found = given_options(given, ROWS) | ({"devices": device} if device else {})
        command(choice=LoadChoice(found), **given)

    decorated: Callable[..., None] = with_choice
    decorators: list[Decorator] = [*(field_option(ENGINE, *row) for row in ROWS), device_option()]
    for decorate in reversed(decorators):
        decorated = decorate(decorated)
    return decorated
