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

    All calls come from one thread. Reads never overlap: an offset is at least the end of the read before. A caller
    may skip bytes, also at the start: headers, unneeded tensors, and those that an interrupted run completed. A
    reader that checks the whole file fetches the skipped bytes itself.
    """

    def read(self, offset: int, n_bytes: int) -> Bytes:
        """Bytes `offset` to `offset + n_bytes` of the file as (n_bytes,) uint8, a chunk of some megabytes.

        Other threads use the array after the call, so each call returns a new buffer, which need not be aligned.
        Raises ShardError if the file has become shorter or cannot be read, and TransferError if a transfer failed
        after all of the reader's retries; complete tensors are then kept for the next run.
        """

    def finish(self) -> None:
        """Check the shard against its listed checksum, if there is one, after the last read.

        Raises ChecksumError if the bytes are wrong: the tensors made of them are dropped, the rest of the conversion
        is kept. An interrupted conversion does not call it.
        """


class ShardSource(Protocol):
    """The safetensors files of one checkpoint, each by its plain name (`model-00001-of-00004.safetensors`)."""

    @property
    def trusted(self) -> bool:
        """Whether the bytes are right as they are read; if not, only after `finish` has checked the shard."""

    @property
    def streamed_bytes(self) -> int:
        """Bytes that streams have fetched from a hub so far, for progress bars."""

    def names(self) -> tuple[str, ...]:
        """All *.safetensors files, in name order; used only for a checkpoint without an index."""

    def where(self, name: str) -> str:
        """How an error names a file of the checkpoint: its path, or its address on a hub."""

    def size(self, name: str) -> int | None:
        """Bytes of the file, None if there is none; raises ShardError for one that cannot be read."""

    def peek(self, name: str, offset: int, n_bytes: int) -> bytes:
        """A few bytes of the start, outside of any stream: 8 for the header's length, then the header.

        Fewer only where the file ends. A header has about 100 bytes a tensor, 100 MB at most.
        """

    def read_range(self, name: str, offset: int, n_bytes: int) -> bytes:
        """`n_bytes` from `offset` on, outside of any stream and unchecked; raises ShardError or TransferError."""

    def identity(self, name: str) -> str:
        """One line that differs for every version of the file, without reading all of it.

        A conversion is resumed only if no shard's identity changed: for a file its size, modification time and
        header's hash; for a hub its size and checksum.
        """

    def stream(self, name: str) -> AbstractContextManager[ShardReader]:
        """Open the file for one pass; leaving the context closes it at any point, without a wait."""

    def reading(self, beside: Path, n_bytes: int) -> AbstractContextManager[None]:
        """The context of all streams of a conversion, which writes `n_bytes` to the directory `beside`.

        A source that stores copies raises OutputError here if there is too little space for them; leaving the context
        without an error completes them.
        """
