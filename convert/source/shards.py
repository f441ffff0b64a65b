"""Where a checkpoint's safetensors files come from: its directory, or a hub."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Shard:
    """One safetensors file: its plain name, and how an error names it."""

    name: str
    where: str


class ShardReader(Protocol):
    """One shard as a stream, front to back.

    All calls come from one thread. `read` is called with rising offsets that never overlap: an offset is at
    least the end of the read before. Bytes may be passed over, at the front too: headers are read by `peek`, some
    tensors are not needed, and a conversion that is resumed asks for what it does not have yet. A reader that
    proves a checksum of the whole file fetches for itself what is passed over.
    """

    def read(self, offset: int, n_bytes: int) -> Bytes:
        """Bytes `offset` to `offset + n_bytes` of the file as (n_bytes,) uint8, a chunk of some megabytes.

        The array is used by other threads after the call, for as long as it is referred to: hand out a
        buffer of its own for each call. Its start need not be aligned. Fewer bytes are never returned: raises
        ShardError where the file is shorter than it was or cannot be read, and TransferError where a
        transfer broke off for good, after the retries that are the reader's own: what is complete by then is
        kept for the next run.
        """

    def finish(self) -> None:
        """All that is wanted of this shard has been read: prove it, where there is something to prove it with.

        Raises ChecksumError where the bytes are not the file's: what was made of them is then thrown away, and
        the rest of the conversion is kept for the next run. Not called when a conversion stops half-way.
        """


class ShardSource(Protocol):
    """The safetensors files of one checkpoint, each by its plain name (`model-00001-of-00004.safetensors`)."""

    @property
    def trusted(self) -> bool:
        """Whether bytes are the file's as they are read; where not, only after `finish` has proven the whole shard."""

    @property
    def streamed_bytes(self) -> int:
        """Bytes that streams have brought from a hub so far, for who watches."""

    def names(self) -> tuple[str, ...]:
        """All *.safetensors files there are, in name order; asked only where the checkpoint has no index."""

    def where(self, name: str) -> str:
        """How an error names a file of the checkpoint: its path, or its address on a hub."""

    def size(self, name: str) -> int | None:
        """Bytes of the file, None where there is no such file; raises ShardError where it cannot be asked for."""

    def peek(self, name: str, offset: int, n_bytes: int) -> bytes:
        """A few bytes of the front, apart from any stream: 8 for the header's length, then the header.

        Fewer only where the file ends. A header has about 100 bytes a tensor, 100 MB at most.
        """

    def read_range(self, name: str, offset: int, n_bytes: int) -> bytes:
        """Bytes anywhere in the file, apart from any stream and not proven; raises ShardError or TransferError."""

    def identity(self, name: str) -> str:
        """What tells this version of the file from any other, in one line without reading it all.

        A conversion is resumed only where every shard's identity is what it was: for a file its size, time
        of change and header's hash; for a hub its checksum or ETag.
        """

    def stream(self, name: str) -> AbstractContextManager[ShardReader]:
        """Open the file for one pass; leaving the context closes it, in the middle too, without a wait."""

    def reading(self, beside: Path, n_bytes: int) -> AbstractContextManager[None]:
        """Streams are going to be read while `n_bytes` are written to the directory `beside`.

        A source that writes something of its own on the way refuses here where there is no room for it, and has
        it whole when the context is left without an error.
        """
