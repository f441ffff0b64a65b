"""A repository at one commit: its files, each with URL, size and hash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from glm_gguf.convert.source.hub.address import Address
from glm_gguf.convert.source.hub.digest import Digest
from glm_gguf.errors import HubError

MAX_FILE_BYTES = 2**41  # 2 TiB: far above a shard's size, far below what overflows


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a repository, as the hub lists it; its name has the folders in front."""

    name: str
    url: str
    n_bytes: int
    digest: Digest


@dataclass(frozen=True, slots=True)
class Repository:
    """What a hub lists of a repository at `commit`."""

    address: Address
    commit: str
    """The commit that all files are fetched from; the branch, if the hub names no commit."""
    files: Mapping[str, RemoteFile]
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Headers for the hub's own host, and no other."""
    listed: frozenset[str] = frozenset()
    """Names of all its files, fetched or not."""

    def file(self, name: str) -> RemoteFile:
        """The file `name`; raises HubError if there is none."""
        if name not in self.files:
            raise HubError(f"there is no {name}", path=str(self.address), fix="is this the repository you mean?")
        return self.files[name]

    def where(self, name: str) -> str:
        """The address of a file, for messages."""
        return f"{self.address}/{name}"


def checked_size(value: object, where: str) -> int:
    """Return a file's size as a hub lists it; raises HubError for anything else."""
    if type(value) is not int or not 0 <= value <= MAX_FILE_BYTES:
        raise HubError(f"the hub says its size is {value!r:.80}", path=where, fix="try again, or another mirror")
    return value
