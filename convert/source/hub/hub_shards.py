"""The shards of a repository: their headers are fetched first, then each shard in one pass."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from glm_gguf.convert.disk_file import locked_directory
from glm_gguf.convert.source.hub.digest import ExpectedDigest, ExpectedRange, Sha256
from glm_gguf.convert.source.hub.fetcher import Fetcher
from glm_gguf.convert.source.hub.local_mirror import LocalMirror
from glm_gguf.convert.source.hub.prefetch import prefetch
from glm_gguf.convert.source.hub.repository import RemoteFile
from glm_gguf.convert.source.hub.shard_stream import ShardStream
from glm_gguf.convert.source.hub.wanted_files import SHARD_SUFFIX
from glm_gguf.errors import ChecksumError, ShardError, TransferError
from glm_gguf.whole_file import UnfinishedFile

FIRST_READ = 2**16
"""Bytes of a shard's first request: the whole header of one of GLM-4-9B's shards."""

MAX_HEADER_BYTES = 2**24
"""Bytes that a header on a hub may have: enough for 100,000 tensors; GLM-4-32B has 613."""

CHECKED_RANGE = 2**20
"""Bytes of the largest range that a stream checks: scales of FP8; a comparison of whole tensors reads larger ones."""


class HubShards:
    """A ShardSource over a repository at one commit."""

    trusted = False

    def __init__(self, fetcher: Fetcher, small_files: Path, mirror: LocalMirror | None = None) -> None:
        """`small_files` is the directory that holds the files that are no shards."""
        self._fetcher, self._small_files, self._mirror = fetcher, small_files, mirror
        self.repository = fetcher.repository
        self._files = {name: file for name, file in fetcher.repository.files.items() if name.endswith(SHARD_SUFFIX)}
        self._starts: dict[str, bytearray] = {}
        self._used: dict[str, int] = {}  # bytes of each start that the plan was made of
        self._ranges: dict[str, dict[int, bytes]] = defaultdict(dict)  # small ranges that were read of each file
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
        """Bytes near the start, fewer where the file ends; raises TransferError, and ShardError for too many."""
        file = self._files[name]
        stop = min(offset + n_bytes, file.n_bytes)
        if stop > MAX_HEADER_BYTES:
            fix = f"up to {MAX_HEADER_BYTES} are read"
            raise ShardError(f"its header claims {n_bytes} bytes", path=self.where(name), fix=fix)
        start = self._starts.setdefault(name, bytearray())
        if stop > len(start):
            start += self._source(file)(len(start), min(max(stop, FIRST_READ), file.n_bytes))
        self._used[name] = max(stop, self._used.get(name, 0))
        return bytes(start[offset:stop])

    def read_range(self, name: str, offset: int, n_bytes: int) -> bytes:
        """`n_bytes` from `offset` on, by a request of their own; raises TransferError.

        A later stream of the file checks a small range.
        """
        data = bytes(self._source(self._files[name])(offset, offset + n_bytes))
        if n_bytes <= CHECKED_RANGE:
            self._ranges[name][offset] = data
        return data

    def identity(self, name: str) -> str:
        """Size and hash, as the hub lists them."""
        file = self._files[name]
        return f"{file.n_bytes} bytes, {file.digest.hex}"

    @contextmanager
    def reading(self, beside: Path, n_bytes: int) -> Iterator[None]:
        """Within the context, streams are copied to the mirror; its end fetches the shards that were not streamed.

        Raises OutputError if the mirror's disk has too little space for that and for `n_bytes` in `beside`.
        """
        if self._mirror is None:
            yield
            return
        files = self.repository.files
        self._mirror.check_space(list(files.values()), beside, n_bytes)
        with locked_directory(self._mirror.directory):
            for path in (path for path in self._small_files.rglob("*") if path.is_file()):
                self._mirror.add(files[path.relative_to(self._small_files).as_posix()], path.read_bytes())
            yield
            for name, file in self._files.items():
                if not self._mirror.has(file):
                    with self.stream(name) as reader:
                        reader.finish()

    @contextmanager
    def stream(self, name: str) -> Iterator[ShardStream]:
        """One pass over the shard; raises TransferError, also from the reader."""
        file = self._files[name]
        digests = [ExpectedDigest(file.n_bytes, file.digest), self._header_digest(name)]
        ranges = [ExpectedRange(offset, data) for offset, data in self._ranges[name].items()]
        with ExitStack() as stack:
            pieces = prefetch(self._source(file), file.n_bytes, self._fetcher.settings)
            copy = None
            if self._mirror is not None and not self._mirror.has(file):
                copy = stack.enter_context(self._mirror.copy(file))
            watchers: list[Callable[[bytearray], None]] = [each.update for each in digests]
            watchers += [each.update for each in ranges]
            watchers += [self._count] if copy is None else [self._count, copy.write]
            yield ShardStream(pieces, tuple(watchers), partial(self._check, file, digests, ranges, copy))

    def _count(self, piece: bytearray) -> None:
        self.streamed_bytes += len(piece)

    def _source(self, file: RemoteFile) -> Callable[[int, int], bytearray]:
        mirrored = self._mirror is not None and self._mirror.has(file)
        return partial((self._mirror if mirrored else self._fetcher).read_range, file)  # type: ignore[union-attr]

    def _header_digest(self, name: str) -> ExpectedDigest:
        """The digest of the header that the plan was made of: the stream must begin with the same bytes."""
        used = self._starts.get(name, bytearray())[: self._used.get(name, 0)]
        return ExpectedDigest(len(used), Sha256(hashlib.sha256(used).hexdigest()))

    def _check(
        self,
        file: RemoteFile,
        digests: list[ExpectedDigest],
        ranges: list[ExpectedRange],
        copy: UnfinishedFile | None,
    ) -> None:
        whole, header = (digest.matches for digest in digests)
        where = self.where(file.name)
        if not whole and self._mirror is not None and self._mirror.has(file):
            raise self._mirror.another_file(file)
        if not whole:
            what = "its bytes do not have the hash that the hub lists"
            raise ChecksumError(what, path=where, fix="a proxy or mirror may be at fault: try again later")
        if not header:
            raise TransferError("its header had wrong bytes in the first request", path=where, fix="try again")
        if not all(read.matches for read in ranges):
            raise ChecksumError("its scales had wrong bytes in a request of their own", path=where, fix="try again")
        if copy is not None:
            copy.finish()
