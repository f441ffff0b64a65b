"""A loaded model: its weights and its vocabulary."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Self

from glm_gguf.errors import EngineError
from glm_gguf.llama.cpu_kernels import advise_huge_pages, own_memory
from glm_gguf.llama.library import llama_cpp
from glm_gguf.llama.llama_log import collected_errors
from glm_gguf.llama.load_plan import LoadPlan
from glm_gguf.llama.model_file import ModelFile
from glm_gguf.llama.shared_pointer import Refusal, SharedPointer
from glm_gguf.llama.vocabulary import Vocabulary

OnLoading = Callable[[float], object]
"""Is told how much of the weights is loaded, from 0 to 1, on another thread."""
# enum llama_load_mode of llama.h: (mmap, mlock) → mode
LOAD_MODES: Final = MappingProxyType({(False, False): 0, (True, False): 1, (False, True): 2, (True, True): 3})


class ModelHandle:
    """Owner of a llama_model, loaded from a checked file by a plan; EngineError where llama.cpp cannot load it."""

    def __init__(self, file: ModelFile, plan: LoadPlan, on_loading: OnLoading | None = None) -> None:
        self.file = file
        self.path = file.path
        self.metadata = file.metadata
        self._shared = SharedPointer(
            load_weights(file.contents.first.path, plan, on_loading), llama_cpp.llama_model_free, self.path
        )
        try:
            self.vocabulary = Vocabulary(self._shared, self.metadata)
        except BaseException:
            self.close()
            raise

    def acquire(self) -> llama_cpp.llama_model_p:
        """Return the llama_model, which stays until release(); EngineError after close()."""
        return self._shared.acquire()

    def release(self) -> None:
        """End a use of the llama_model."""
        self._shared.release()

    def close(self, refusal: Refusal | None = None) -> None:
        """Free the weights when their last user is done; a second call does nothing. Later users get the `refusal`."""
        self._shared.close(refusal)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def load_weights(path: Path, plan: LoadPlan, on_loading: OnLoading | None = None) -> llama_cpp.llama_model_p:
    """Load the weights on a thread that ends afterwards; an interrupted caller leaves no model behind.

    libgomp keeps helper threads for every thread that repacked. With more of them than cores, the computing threads
    would sleep at barriers instead of spinning.
    """
    unwanted = threading.Event()
    with ThreadPoolExecutor(1) as passing:
        loading = passing.submit(_load, path, plan, unwanted, on_loading)
        try:
            return loading.result()
        except BaseException:
            unwanted.set()
            loading.add_done_callback(_free_unwanted)
            raise


def _free_unwanted(loading: Future[llama_cpp.llama_model_p]) -> None:
    """Free a model whose caller was interrupted."""
    if loading.exception() is None:
        llama_cpp.llama_model_free(loading.result())


def _load(
    path: Path, plan: LoadPlan, unwanted: threading.Event, on_loading: OnLoading | None
) -> llama_cpp.llama_model_p:
    """Read or map the weights; EngineError where llama.cpp refuses. What `on_loading` raises ends the loading."""
    # struct llama_model * llama_model_load_from_file(const char * path_model, struct llama_model_params params)
    parameters = llama_cpp.llama_model_default_params()
    options, offload = plan.options, plan.offload
    parameters.n_gpu_layers = offload.n_on_gpus
    # ggml_backend_dev_t * devices: NULL-terminated; without any, no GPU helps in prefill either
    devices = (ctypes.c_void_p * (len(offload.gpus) + 1))(*[gpu.pointer for gpu in offload.gpus])
    parameters.devices = ctypes.cast(devices, ctypes.c_void_p)
    # float * tensor_split [llama_max_devices()]: NULL or nothing but zeros is by free memory
    split = (ctypes.c_float * llama_cpp.llama_max_devices())(*offload.split)
    parameters.tensor_split = split
    parameters.load_mode = LOAD_MODES[options.mmap, options.mlock]
    parameters.use_extra_bufts = plan.repack
    raised: list[BaseException] = []
    parameters.progress_callback = _progress(unwanted, on_loading, raised)
    with collected_errors() as errors:
        pointer: llama_cpp.llama_model_p | None = llama_cpp.llama_model_load_from_file(os.fsencode(path), parameters)
    try:
        plan.workers.check()
        if raised:
            raise raised[0]
    except BaseException:
        if pointer:
            llama_cpp.llama_model_free(pointer)
        raise
    if not pointer:
        reason = f": {errors[0]}" if errors else ""
        fix = "lower n_gpu_layers" if offload.n_on_gpus else None
        raise EngineError(f"llama.cpp could not load the model{reason}", path=path, fix=fix)
    return pointer


def _progress(unwanted: threading.Event, on_loading: OnLoading | None, raised: list[BaseException]) -> object:
    """Make llama.cpp's progress callback; it notes what `on_loading` raises."""
    before = own_memory()

    # bool (*llama_progress_callback)(float progress, void * user_data): 0 when all is allocated and nothing read yet;
    # false ends the loading
    @llama_cpp.llama_progress_callback  # type: ignore[untyped-decorator]
    def told(progress: float, _: object) -> bool:
        if progress == 0:
            advise_huge_pages(before)
        try:
            if on_loading is not None:
                on_loading(progress)
        except BaseException as error:  # ctypes would print it and go on
            raised.append(error)
        return not (raised or unwanted.is_set())

    return told
