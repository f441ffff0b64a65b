"""What SOURCE names, opened: a directory, a GGUF, or a repository on a hub."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from glm_gguf.convert.source.gguf_source import GgufSource, is_gguf
from glm_gguf.convert.source.hub.address import parse_address
from glm_gguf.convert.source.source import Source
from glm_gguf.errors import RequestError


@contextmanager
def open_source(source: str | os.PathLike[str], keep: Path | None = None) -> Iterator[Source | GgufSource]:
    """Open a directory, a GGUF, or a hub's repository at the commit that its revision names; raises GlmGgufError.

    A repository's files are also stored in the directory `keep`, where one is given.
    """
    if not os.fspath(source):
        raise RequestError("the name is empty", field="source", fix="name a directory, a GGUF or hf://OWNER/NAME")
    address = parse_address(os.fspath(source))
    if address is None:
        if keep is not None:
            raise RequestError("the source is on this machine", field="keep_source", fix="it is for hf:// and ms://")
        yield GgufSource.open(source) if is_gguf(source) else Source.local(Path(source))
        return
    from glm_gguf.convert.source.hub.open_hub import open_hub  # loads huggingface_hub, which a directory does without

    with open_hub(address, keep) as opened:
        yield opened
