"""Options that decide how a model is loaded and run, for commands that choose the context themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from typing import Any

import click

from glm_gguf.cli.configured import Configured
from glm_gguf.cli.model_options import (
    ENGINE_OPTIONS,
    Decorator,
    device_option,
    field_option,
    given_options,
    spelled_options,
    worker_option,
)
from glm_gguf.llama.engine_options import EngineOptions

ENGINE = "Model and engine"
FIELDS = ("n_parallel", "n_gpu_layers", "threads", "threads_batch", "cache_type_k", "cache_type_v", "yarn")
LISTS = ("device", "worker")
"""Options that may be repeated; the field is the plural."""


@dataclass(frozen=True, slots=True)
class LoadChoice:
    """Options of the engine: all that hold, and those that the command line gave."""

    options: EngineOptions
    given: dict[str, Any]

    def words(self) -> Iterator[str]:
        """Spell the given options, so that another command can be told them."""
        return spelled_options(self.given)


def load_options(*, leaving_out: tuple[str, ...] = ()) -> Decorator:
    """Add the options, but for some fields; the command gets them as one LoadChoice, `choice`."""
    rows = tuple(row for row in ENGINE_OPTIONS if row[0] in FIELDS and row[0] not in leaving_out)

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def with_choice(**values: Any) -> None:
            lists = {name: values.pop(name) for name in LISTS}
            given = given_options(values, rows) | {name: several for name, several in lists.items() if several}
            asked = dict.fromkeys((*(name for name, *_ in rows), *LISTS)) | given
            configured = Configured.of(click.get_current_context(), asked)
            engine = {name: value for name, value in configured.values.items() if value is not None}
            engine |= {f"{name}s": engine.pop(name, ()) for name in LISTS}
            with configured.told():
                command(choice=LoadChoice(EngineOptions(**engine), given), **values)

        decorated: Callable[..., None] = with_choice
        for add in reversed([*(field_option(ENGINE, *row) for row in rows), device_option(), worker_option()]):
            decorated = add(decorated)
        return decorated

    return decorate
