"""Parts of a repository's files, whole, by as many requests as it takes."""

from __future__ import annotations

from glm_gguf.convert.source.hub.network import Network
from glm_gguf.convert.source.hub.ranged_request import Part, Wire
from glm_gguf.convert.source.hub.repository import RemoteFile, Repository
from glm_gguf.convert.source.hub.retries import PROGRESS, Fault, Patience
from glm_gguf.errors import HubError, TransferError


class Fetcher:
    """Fetches from one repository; several threads may use it at once."""

    def __init__(self, repository: Repository, wire: Wire, patience: Patience, network: Network) -> None:
        self.repository, self.network = repository, network
        self._wire, self._patience = wire, patience

    def part(self, file: RemoteFile, start: int, stop: int) -> bytearray:
        """Bytes `start` to `stop` of a file; what a fault cut short goes on where it was. Raises TransferError."""
        got, failures = bytearray(), 0
        while len(got) < stop - start:
            before = len(got)
            try:
                for block in self._wire.blocks(file.url, Part(start + before, stop, file.n_bytes)):
                    got += block
            except Fault as fault:
                failures = 1 if len(got) - before >= PROGRESS else failures + 1
                self._patience.after(failures, fault, self.repository.where(file.name))
        return got

    def whole(self, file: RemoteFile, max_bytes: int) -> bytearray:
        """A small file, its hash right; raises TransferError, HubError where it is longer than `max_bytes`."""
        where = self.repository.where(file.name)
        if file.n_bytes > max_bytes:
            raise HubError(f"{file.n_bytes} bytes are no {file.name}", where=where, fix=f"up to {max_bytes} are read")
        for _ in range(TRIES_FOR_HASH):
            data = self.part(file, 0, file.n_bytes)
            if file.digest.fits(data):
                return data
        raise wrong_bytes(self.repository, file)


TRIES_FOR_HASH = 3
"""Times that a file is fetched whose bytes do not hash to what the hub lists."""


def wrong_bytes(repository: Repository, file: RemoteFile) -> TransferError:
    """The error of a file that came wrong as often as it was fetched."""
    return TransferError(
        f"its bytes do not hash to what the hub lists, fetched {TRIES_FOR_HASH} times",
        where=repository.where(file.name),
        fix="a proxy or mirror may be at fault, or the repository has changed: try again",
    )
