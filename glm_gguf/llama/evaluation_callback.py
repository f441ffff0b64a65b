"""llama.cpp's evaluation callback: the nodes of a graph, seen while a batch is computed."""

from __future__ import annotations

import ctypes
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import FrameType
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from glm_gguf.llama.library import ggml_function, llama_cpp

Floats = npt.NDArray[np.float32]
GGML_TYPE_F32: Final = 0
# GGML_MAX_DIMS, GGML_MAX_OP_PARAMS, GGML_MAX_SRC and GGML_MAX_NAME of ggml.h
DIMENSIONS, PARAMETER_BYTES, SOURCES, NAME_BYTES = 4, 64, 10, 64


class _Tensor(ctypes.Structure):
    """struct ggml_tensor of ggml.h, up to its name."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("ne", ctypes.c_int64 * DIMENSIONS),
        ("nb", ctypes.c_size_t * DIMENSIONS),
        ("op", ctypes.c_int),
        ("op_params", ctypes.c_int32 * (PARAMETER_BYTES // 4)),
        ("flags", ctypes.c_int32),
        ("src", ctypes.c_void_p * SOURCES),
        ("view_src", ctypes.c_void_p),
        ("view_offs", ctypes.c_size_t),
        ("data", ctypes.c_void_p),
        ("name", ctypes.c_char * NAME_BYTES),
    )


@cache
def _op_desc() -> Callable[..., Any]:
    # const char * ggml_op_desc(const struct ggml_tensor * t)
    return ggml_function("ggml_op_desc", ctypes.c_char_p, ctypes.c_void_p)


@cache
def _nbytes() -> Callable[..., Any]:
    # size_t ggml_nbytes(const struct ggml_tensor * tensor)
    return ggml_function("ggml_nbytes", ctypes.c_size_t, ctypes.c_void_p)


@cache
def _tensor_get() -> Callable[..., Any]:
    # void ggml_backend_tensor_get(const struct ggml_tensor * tensor, void * data, size_t offset, size_t size)
    arguments = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t
    return ggml_function("ggml_backend_tensor_get", None, *arguments)


@dataclass(frozen=True, slots=True)
class Node:
    """A tensor of a graph; it and its values exist only while the callback runs."""

    address: int

    @property
    def name(self) -> str:
        """Its name; ggml puts a device's name and a number around one that it copied: CUDA0#blk.0.attn_q.weight#0."""
        raw: bytes = _Tensor.from_address(self.address).name
        name = raw.decode("utf-8", "replace")
        return name.split("#")[1] if "#" in name else name

    @property
    def operation(self) -> str:
        """What computes it, such as MUL_MAT."""
        described: bytes = _op_desc()(self.address)
        return described.decode()

    @property
    def shape(self) -> tuple[int, ...]:
        """Its four extents, the innermost first."""
        return tuple(_Tensor.from_address(self.address).ne)

    @property
    def is_f32(self) -> bool:
        """Whether its values are 32-bit floats."""
        return int(_Tensor.from_address(self.address).type) == GGML_TYPE_F32

    def source(self, number: int) -> Node:
        """Return one of the tensors that it is computed from."""
        return Node(_Tensor.from_address(self.address).src[number])

    def values(self) -> Floats:
        """Copy its values, f32, from the device that has them: [rows, columns], in the order of its memory."""
        assert self.is_f32
        tensor = _Tensor.from_address(self.address)
        raw = np.empty(_nbytes()(self.address), np.uint8)
        _tensor_get()(self.address, raw.ctypes.data, 0, raw.size)
        whole = np.lib.stride_tricks.as_strided(raw.view(np.float32), tuple(tensor.ne)[::-1], tuple(tensor.nb)[::-1])
        return whole.reshape(-1, tensor.ne[0])


ENDING: Final = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that end a command."""


class Observer(Protocol):
    """Who looks at the nodes of a graph."""

    def wants(self, node: Node) -> bool:
        """Tell, before a node is computed, whether its values are asked for."""

    def take(self, node: Node) -> None:
        """Read a node that is computed, and what it was computed from."""


class EvaluationCallback:
    """Shows an observer the nodes of each batch. What the observer raises ends the batch, and `decode` raises it."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._raised: BaseException | None = None
        self._signals: list[int] = []
        # bool (*ggml_backend_sched_eval_callback)(struct ggml_tensor * t, bool ask, void * user_data): true to an
        # `ask` wants the values; false else ends the computation
        self.raw = llama_cpp.ggml_backend_sched_eval_callback(self._called)

    @contextmanager
    def signals_kept(self) -> Iterator[None]:
        """Keep the signals that arrive, end the batch, and raise them behind it.

        Python handles a signal where it enters `_called`, before its first line: ctypes would print what that raises,
        and the batch would go on without the node. Only the main thread handles signals.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in ENDING}
        kept = {number: handler for number, handler in before.items() if callable(handler)}
        try:
            for number in kept:
                signal.signal(number, self._keep)
            yield
        finally:
            for number, handler in kept.items():
                signal.signal(number, handler)
            arrived, self._signals = self._signals, []
            for number in arrived:
                signal.raise_signal(number)

    def _keep(self, number: int, _: FrameType | None) -> None:
        self._signals.append(number)

    def require_success(self) -> None:
        """Raise what the observer raised."""
        raised, self._raised = self._raised, None
        if raised is not None:
            raise raised

    def _called(self, address: int, asks: bool, _: object) -> bool:
        if self._raised is not None or self._signals:
            return asks
        try:
            if asks:
                return self._observer.wants(Node(address))
            self._observer.take(Node(address))
        except BaseException as error:  # ctypes would print it and go on; Ctrl-C arrives here too
            self._raised = error
            return asks
        return True
