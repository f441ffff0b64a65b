"""A repository at one commit: its files, with where, how long and which hash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from glm_gguf.convert.source.hub.address import Address
from glm_gguf.convert.source.hub.digest import Digest
from glm_gguf.errors import HubError

MAX_FILE_BYTES = 2**41  # 2 TiB: far above a shard's size, far below what arithmetic minds


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file at the top of a repository, as the hub lists it."""

    name: str
    url: str
    n_bytes: int
    digest: Digest


@dataclass(frozen=True, slots=True)
class Repository:
    """What a hub says a repository holds at `commit`."""

    address: Address
    commit: str
    """The commit that everything is fetched from; the branch where the hub does not tell."""
    files: Mapping[str, RemoteFile]
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Headers that the hub's own host may see, and no other."""
    listed: frozenset[str] = frozenset()
    """Names of all that lies there, fetched or not."""

    def file(self, name: str) -> RemoteFile:
        """The file `name`; raises HubError where there is none."""
        if name not in self.files:
            raise HubError(f"there is no {name}", path=str(self.address), fix="is this the repository you mean?")
        return self.files[name]

    def where(self, name: str) -> str:
        """How a message names a file."""
        return f"{self.address}/{name}"


def checked_size(value: object, where: str) -> int:
    """A file's size as a hub gives it; raises HubError for what cannot be one."""
    if type(value) is not int or not 0 <= value <= MAX_FILE_BYTES:
        raise HubError(f"the hub says its size is {value!r:.80}", path=where, fix="try again, or another mirror")
    return value
