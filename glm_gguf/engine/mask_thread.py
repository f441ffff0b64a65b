"""The thread that asks constraints for masks while the model computes."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from glm_gguf.engine.batch_slice import BatchSlice
from glm_gguf.engine.masking import Mask

Masks = Mapping[int, Future[Mask | None]]
"""Row of the batch → the mask for the token after it, or the error of its constraint."""


class MaskThread:
    """One thread for all constraints: none gets two calls at once."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []  # not its number: another thread may get that after its end
        self._pool = ThreadPoolExecutor(1, "glm-gguf-masks", lambda: self._threads.append(threading.current_thread()))

    def start(self, slices: Sequence[BatchSlice]) -> Masks:
        """Begin the masks of all sequences that will be sampled; a mask depends on earlier tokens only."""
        constrained = (
            slice_ for slice_ in slices if slice_.final and slice_.sequence.handle.request.constraint is not None
        )
        return {slice_.row: self._started(slice_) for slice_ in constrained}

    @property
    def is_current(self) -> bool:
        """The calling thread is this one."""
        return threading.current_thread() in self._threads

    def close(self) -> None:
        """End the thread after its present mask."""
        self._pool.shutdown()

    def _started(self, slice_: BatchSlice) -> Future[Mask | None]:
        try:
            return self._pool.submit(slice_.sequence.mask)
        except RuntimeError as error:  # Python is ending
            failed: Future[Mask | None] = Future()
            failed.set_exception(error)
            return failed
