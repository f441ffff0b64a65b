"""The shards of a repository as a conversion reads them: headers by a look at the front, then one pass each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from glm_gguf.convert.disk_file import locked_directory
from glm_gguf.convert.source.hub.digest import Sha256
from glm_gguf.convert.source.hub.fetcher import Fetcher
from glm_gguf.convert.source.hub.local_mirror import Copy, LocalMirror
from glm_gguf.convert.source.hub.names import SHARD_SUFFIX
from glm_gguf.convert.source.hub.read_ahead import read_ahead
from glm_gguf.convert.source.hub.repository import RemoteFile
from glm_gguf.convert.source.hub.seal import ExpectedDigest
from glm_gguf.convert.source.hub.shard_stream import ShardStream
from glm_gguf.errors import ChecksumError, ShardError, TransferError

FRONT = 2**16
"""Bytes of the first look: the whole header of one of GLM-4-9B's shards."""

MAX_FRONT = 2**24
"""Bytes that a header may have here: room for 100,000 tensors, where GLM-4-32B has 613."""


class HubShards:
    """A ShardSource over a repository at one commit."""

    trusted = False

    def __init__(self, fetcher: Fetcher, small_files: Path, kept: LocalMirror | None = None) -> None:
        """`small_files` is the directory where everything but the shards is already."""
        self._fetcher, self._small_files, self._kept = fetcher, small_files, kept
        self.repository = fetcher.repository
        self._files = {name: file for name, file in fetcher.repository.files.items() if name.endswith(SHARD_SUFFIX)}
        self._fronts: dict[str, bytearray] = {}
        self._seen: dict[str, int] = {}
        self.streamed_bytes = 0

    def names(self) -> tuple[str, ...]:
        """All *.safetensors files of the repository, in name order."""
        return tuple(sorted(self._files))

    def where(self, name: str) -> str:
        """The file's address."""
        return self.repository.where(name)

    def size(self, name: str) -> int | None:
        """Bytes of the file, as the hub lists them."""
        return self._files[name].n_bytes if name in self._files else None

    def peek(self, name: str, offset: int, n_bytes: int) -> bytes:
        """Bytes near the front, fewer where the file ends; raises TransferError, and ShardError for too many."""
        file = self._files[name]
        stop = min(offset + n_bytes, file.n_bytes)
        if stop > MAX_FRONT:
            fix = f"up to {MAX_FRONT} are read"
            raise ShardError(f"its header claims {n_bytes} bytes", where=self.where(name), fix=fix)
        front = self._fronts.setdefault(name, bytearray())
        if stop > len(front):
            front += self._source(file)(len(front), min(max(stop, FRONT), file.n_bytes))
        self._seen[name] = max(stop, self._seen.get(name, 0))
        return bytes(front[offset:stop])

    def part(self, name: str, offset: int, n_bytes: int) -> bytes:
        """Bytes anywhere, by a request of their own; raises TransferError."""
        return bytes(self._source(self._files[name])(offset, offset + n_bytes))

    def identity(self, name: str) -> str:
        """Size and hash, as the hub lists them."""
        file = self._files[name]
        return f"{file.n_bytes} bytes, {file.digest.hex}"

    @contextmanager
    def reading(self, beside: Path, n_bytes: int) -> Iterator[None]:
        """While the context lasts, what is streamed is kept too, where that is wanted; then what was not streamed.

        Refuses where there is no room for it beside the `n_bytes` that are written to `beside`.
        """
        if self._kept is None:
            yield
            return
        files = self.repository.files
        self._kept.check_room(list(files.values()), beside, n_bytes)
        with locked_directory(self._kept.directory):
            for path in self._small_files.iterdir():
                self._kept.add(files[path.name], path.read_bytes())
            yield
            for name, file in self._files.items():
                if not self._kept.has(file):
                    with self.stream(name) as reader:
                        reader.finish()

    @contextmanager
    def stream(self, name: str) -> Iterator[ShardStream]:
        """One pass over the shard; raises TransferError, also from the reader."""
        file = self._files[name]
        seals = [ExpectedDigest(file.n_bytes, file.digest), self._front_seal(name)]
        with ExitStack() as stack:
            pieces = read_ahead(self._source(file), file.n_bytes, self._fetcher.network)
            copy = None
            if self._kept is not None and not self._kept.has(file):
                copy = stack.enter_context(self._kept.copy(file))
            watchers = [*(seal.pass_over for seal in seals), self._count, *([] if copy is None else [copy.write])]
            yield ShardStream(pieces, tuple(watchers), partial(self._prove, file, seals, copy))

    def _count(self, piece: bytearray) -> None:
        self.streamed_bytes += len(piece)

    def _source(self, file: RemoteFile) -> Callable[[int, int], bytearray]:
        kept = self._kept is not None and self._kept.has(file)
        return partial((self._kept if kept else self._fetcher).part, file)  # type: ignore[union-attr]

    def _front_seal(self, name: str) -> ExpectedDigest:
        """The plan was made of a header that was fetched apart: it must be the one that the hash is of."""
        seen = self._fronts.get(name, bytearray())[: self._seen.get(name, 0)]
        return ExpectedDigest(len(seen), Sha256(hashlib.sha256(seen).hexdigest()))

    def _prove(self, file: RemoteFile, seals: list[ExpectedDigest], copy: Copy | None) -> None:
        whole, front = (seal.whole for seal in seals)
        where = self.where(file.name)
        if not whole and self._kept is not None and self._kept.has(file):
            raise self._kept.foreign(file)
        if not whole:
            what = "its bytes do not hash to what the hub lists"
            raise ChecksumError(what, where=where, fix="a proxy or mirror may be at fault: try again later")
        if not front:
            raise TransferError("its header came with wrong bytes at first", where=where, fix="try again")
        if copy is not None:
            copy.finish()
