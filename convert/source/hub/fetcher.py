"""Byte ranges of a repository's files, by as many requests as each takes."""

from __future__ import annotations

from glm_gguf.convert.source.hub.hub_client import ByteRange, HubClient, TransferSettings
from glm_gguf.convert.source.hub.repository import RemoteFile, Repository
from glm_gguf.convert.source.hub.retries import PROGRESS, Fault, RetryPolicy
from glm_gguf.errors import HubError, TransferError

MOST_FETCHES = 3
"""How often a small file is fetched until its bytes have the hash that the hub lists."""


class Fetcher:
    """Fetches from one repository; several threads may use it at once."""

    def __init__(
        self, repository: Repository, client: HubClient, policy: RetryPolicy, settings: TransferSettings
    ) -> None:
        self.repository, self.settings = repository, settings
        self._client, self._policy = client, policy

    def read_range(self, file: RemoteFile, start: int, stop: int) -> bytearray:
        """Bytes `start` to `stop` of a file; a retry continues where the last answer ended. Raises TransferError."""
        got, failures = bytearray(), 0
        while len(got) < stop - start:
            before = len(got)
            try:
                for block in self._client.blocks(file.url, ByteRange(start + before, stop, file.n_bytes)):
                    got += block
            except Fault as fault:
                failures = 1 if len(got) - before >= PROGRESS else failures + 1
                self._policy.wait_after(failures, fault, self.repository.where(file.name))
        return got

    def whole(self, file: RemoteFile, max_bytes: int) -> bytearray:
        """A small file with the right hash; raises TransferError, and HubError above `max_bytes`."""
        where = self.repository.where(file.name)
        if file.n_bytes > max_bytes:
            raise HubError(
                f"{file.n_bytes} bytes are too many for {file.name}", path=where, fix=f"up to {max_bytes} are read"
            )
        for _ in range(MOST_FETCHES):
            data = self.read_range(file, 0, file.n_bytes)
            if file.digest.fits(data):
                return data
        raise TransferError(
            f"its bytes do not have the hash that the hub lists, fetched {MOST_FETCHES} times",
            path=where,
            fix="a proxy or mirror may be at fault, or the repository has changed: try again",
        )
