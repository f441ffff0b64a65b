"""The header of a model on a hub, read before anything is fetched."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from glm_gguf.convert.source.hub.address import parse_address
from glm_gguf.convert.source.hub.fetcher import Fetcher
from glm_gguf.convert.source.hub.hub_client import TransferSettings
from glm_gguf.convert.source.hub.repository import RemoteFile
from glm_gguf.gguf_file.header import GgufHeader
from glm_gguf.gguf_file.parts import GgufParts
from glm_gguf.store.model_address import ModelAddress
from glm_gguf.store.remote_models import choose, is_checkpoint, open_repository, remote_models, without_gguf


def remote_header(address: ModelAddress) -> GgufParts | None:
    """Read the headers of the GGUF that an address means, some megabytes; None for a checkpoint in safetensors.

    Raises HubError, TransferError and GgufError.
    """
    repository = parse_address(address.source)
    assert repository is not None, "model_address found a scheme"
    with open_repository(repository, TransferSettings(), threading.Event()) as fetcher:
        models = remote_models(fetcher.repository)
        if not models and is_checkpoint(fetcher.repository):
            return None
        if not models:
            raise without_gguf(fetcher.repository)
        files = choose(models, address.type, address.source).files
        return GgufParts(tuple(_header(fetcher, file) for file in files))


def _header(fetcher: Fetcher, file: RemoteFile) -> GgufHeader:
    return GgufHeader.of_stream(_RemoteStart(fetcher, file), Path(file.name), file.n_bytes)


@dataclass(slots=True)
class _RemoteStart:
    """The bytes of a file on a hub from its front on, fetched as they are read."""

    fetcher: Fetcher
    file: RemoteFile
    position: int = 0

    def read(self, n_bytes: int, /) -> bytearray:
        """Fetch the next bytes, fewer where the file ends."""
        start, self.position = self.position, min(self.position + n_bytes, self.file.n_bytes)
        return self.fetcher.read_range(self.file, start, self.position)
