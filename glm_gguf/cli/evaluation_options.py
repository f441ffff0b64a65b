"""Options that evaluate and compare share: the reference, and requests for tool calls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from glm_gguf.errors import RequestError

if TYPE_CHECKING:
    from glm_gguf.quality.text_data import Dialogue

BUILT_IN: Final = "built-in"
REQUESTS = click.option(
    "--requests",
    metavar="FILE",
    help="Requests with tools (.jsonl) whose calls are compared; `built-in` for those that come with glm-gguf.",
)


def read_requests(text: str | None) -> tuple[Dialogue, ...]:
    """Return the requests of --requests; raises RequestError."""
    from glm_gguf.quality.built_in_texts import tool_requests
    from glm_gguf.quality.text_data import read_dialogues

    if text is None or text == BUILT_IN:
        return () if text is None else tool_requests()
    found = tuple(read_dialogues(Path(text)))
    if not found:
        raise RequestError("it holds no request", field="requests", path=text)
    return found


def reference_path(text: str | None, data: Sequence[Path]) -> Path | None:
    """Return the file of --reference; RequestError for texts beside log probabilities that have their own."""
    from glm_gguf.cli.model_argument import model_path
    from glm_gguf.quality.evaluation import is_reference

    path = None if text is None else model_path(text)
    if data and path is not None and is_reference(path):
        fix = "leave --data out, or give the reference as a GGUF"
        raise RequestError("the saved reference has texts of its own", field="data", fix=fix)
    return path
