"""Options of the commands that measure a model on texts: the texts, and how they are cut."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

FILE = click.Path(path_type=Path)


def data_options(default: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add --data, whose `default` the help tells, --chunk-tokens and --chunks; the last two come as `chunks`."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def with_chunks(chunk_tokens: int, chunks: int | None, **values: Any) -> None:
            from glm_gguf.quality.chunks import ChunkOptions

            command(chunks=ChunkOptions(chunk_tokens, chunks), **values)

        decorated: Callable[..., None] = with_chunks
        for add in reversed(_options(default)):
            decorated = add(decorated)
        return decorated

    return decorate


def _options(default: str) -> list[Callable[[Callable[..., None]], Callable[..., None]]]:
    return [
        click.option(
            "--data",
            type=FILE,
            metavar="PATH",
            multiple=True,
            help="Text, JSON lines of conversations (.jsonl), or a directory of them; may be repeated. "
            f"Default: {default}.",
        ),
        click.option(
            "--chunk-tokens", type=int, metavar="N", default=512, show_default=True, help="Tokens of a chunk of text."
        ),
        click.option("--chunks", type=int, metavar="N", help="Use the first N chunks only. Default: all."),
    ]
