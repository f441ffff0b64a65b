"""What SOURCE names, opened: a directory, or a repository on a hub."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from glm_gguf.convert.source.hub.address import parse_address
from glm_gguf.convert.source.local_shards import LocalShards
from glm_gguf.convert.source.shards import ShardSource
from glm_gguf.errors import RequestError


@dataclass(frozen=True, slots=True)
class Source:
    """A checkpoint to be read: a directory that holds everything but the weights, and the shards with the weights."""

    directory: Path
    shards: ShardSource
    origin: str
    """What to call it, in one line."""


@contextmanager
def open_source(source: str | os.PathLike[str], keep: Path | None = None) -> Iterator[Source]:
    """Open a directory, or a hub's repository at the commit its revision names now; raises GlmGgufError.

    With `keep`, a directory, a repository's files are kept there as they pass.
    """
    address = parse_address(os.fspath(source))
    if address is None:
        if keep is not None:
            raise RequestError("a directory is there already", field="keep_source", fix="it is for hf:// and ms://")
        yield Source(Path(source), LocalShards(Path(source)), os.fspath(source))
        return
    from glm_gguf.convert.source.hub.source import open_hub  # loads huggingface_hub, which a directory does without

    with open_hub(address, keep) as hub:
        sizes = [hub.shards.size(name) or 0 for name in hub.shards.names()]
        origin = f"{address}, commit {hub.repository.commit}, {sum(sizes) / 1e9:.2f} GB in {len(sizes)} shards"
        yield Source(hub.directory, hub.shards, origin)
