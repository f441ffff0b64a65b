"""Write a plan: rows are quantised on all cores and written in order, in one pass over the checkpoint."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from io import BufferedWriter
from pathlib import Path
from typing import Protocol

import numpy as np
from gguf import GGUFValueType, GGUFWriter
from gguf.gguf_writer import GGUFValue, WriterState

from glm_gguf.convert.kernels.ggml import Bytes
from glm_gguf.convert.metadata import ARCH, KeyValues
from glm_gguf.convert.output import open_outputs
from glm_gguf.convert.plan import Plan, TensorPlan
from glm_gguf.convert.rows import Chunk, chunks, convert_chunk

ALIGNMENT = 32  # GGUF_DEFAULT_ALIGNMENT
CHUNKS_AHEAD = 4  # per thread: enough that no thread waits for the writer


class Progress(Protocol):
    """Told of every tensor when it is complete, and of bytes as they are written."""

    def started(self, tensor: TensorPlan) -> None:
        """The first rows of `tensor` are about to be written."""

    def wrote(self, n_bytes: int) -> None:
        """`n_bytes` more bytes of tensor data are in the file."""


class Silent:
    """Progress that nobody watches."""

    def started(self, tensor: TensorPlan) -> None:
        """Say nothing."""

    def wrote(self, n_bytes: int) -> None:
        """Say nothing."""


def write(plan: Plan, paths: Sequence[Path], threads: int, progress: Progress) -> None:
    """Write the plan's files to `paths`, one each; on any error or Ctrl-C none of them appears."""
    with open_outputs(paths) as files, ThreadPoolExecutor(threads) as pool:
        try:
            for number, (file, tensors) in enumerate(zip(files, plan.files, strict=True)):
                _write_header(file, tensors, _file_metadata(plan, number))
                _write_tensors(file, tensors, _converted(pool, tensors, threads), progress)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _file_metadata(plan: Plan, number: int) -> KeyValues:
    """The first file carries everything; the others of a split only their place in it."""
    if len(plan.files) == 1:
        return plan.metadata
    split = {
        "split.no": GGUFValue(number, GGUFValueType.UINT16),
        "split.count": GGUFValue(len(plan.files), GGUFValueType.UINT16),
        "split.tensors.count": GGUFValue(len(plan.tensors), GGUFValueType.INT32),
    }
    return {**plan.metadata, **split} if number == 0 else split


def _write_header(file: BufferedWriter, tensors: Sequence[TensorPlan], metadata: KeyValues) -> None:
    """Key-values and tensor list through gguf-py, padded to where the data begins."""
    writer = GGUFWriter(None, ARCH)
    writer.kv_data[0].clear()
    writer.kv_data[0].update(metadata)
    for tensor in tensors:
        writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), tensor.n_bytes, raw_dtype=tensor.type)
    writer.fout, writer.state = [file], WriterState.EMPTY  # our own file, open already: it is renamed when complete
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    _pad(file)


def _write_tensors(
    file: BufferedWriter, tensors: Sequence[TensorPlan], converted: Iterator[tuple[Chunk, Bytes]], progress: Progress
) -> None:
    for chunk, data in converted:
        if chunk.start == 0:
            progress.started(chunk.tensor)
        file.write(data.data)
        progress.wrote(data.nbytes)
        if chunk.stop == len(chunk.mapped):
            _pad(file)


def _converted(pool: ThreadPoolExecutor, tensors: Sequence[TensorPlan], threads: int) -> Iterator[tuple[Chunk, Bytes]]:
    """Chunks of all tensors, converted, in order; a bounded number is under way at a time."""
    ahead: deque[tuple[Chunk, Future[Bytes]]] = deque()
    for tensor in tensors:
        for chunk in chunks(tensor):
            ahead.append((chunk, pool.submit(convert_chunk, chunk)))
            if len(ahead) > CHUNKS_AHEAD * threads:
                done, future = ahead.popleft()
                yield done, future.result()
    for done, future in ahead:
        yield done, future.result()


def _pad(file: BufferedWriter) -> None:
    file.write(bytes(-file.tell() % ALIGNMENT))
