"""The address of a checkpoint on a hub: hf://OWNER/NAME[@REVISION] or ms://OWNER/NAME[@REVISION]."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from glm_gguf.convert.source.json_file import short_repr
from glm_gguf.errors import RequestError
from glm_gguf.source_name import Wanted, refuse_mistaken

FORM = "write hf://OWNER/NAME or ms://OWNER/NAME, with @REVISION behind it or without"
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}"  # both hubs' names: 96 characters, no separator in front
REVISION = r"[A-Za-z0-9][A-Za-z0-9_./+-]{0,199}"  # a branch, a tag, a commit, refs/pr/1


class Hub(StrEnum):
    """A hub, by its scheme."""

    HUGGING_FACE = "hf"
    MODEL_SCOPE = "ms"


@dataclass(frozen=True, slots=True)
class Address:
    """A repository on a hub, at a revision or at the hub's default branch."""

    hub: Hub
    owner: str
    name: str
    revision: str | None = None

    @property
    def repository(self) -> str:
        """OWNER/NAME."""
        return f"{self.owner}/{self.name}"

    def __str__(self) -> str:
        """As a user writes it: a message can be pasted into a command."""
        return f"{self.hub}://{self.repository}" + ("" if self.revision is None else f"@{self.revision}")


def parse_address(source: str) -> Address | None:
    """Parse `source`; None for a path. Raises RequestError for any other URL."""
    scheme = SCHEME.match(source)
    if scheme is None:
        return None
    match = re.fullmatch(rf"(hf|ms)://({NAME})/({NAME})(?:@({REVISION}))?", source)
    if match is None:
        refuse_mistaken(source, Wanted.CHECKPOINT, RequestError)  # a hub's web page: its address is known
    if match is None or ".." in source:
        raise RequestError(f"{short_repr(source)} is no repository on a hub", field="source", fix=FORM)
    return Address(Hub(match[1]), match[2], match[3], match[4])
