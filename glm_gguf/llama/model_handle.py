"""A loaded model: its weights and its vocabulary."""

from __future__ import annotations

import ctypes
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Self

import llama_cpp

from glm_gguf.errors import EngineError
from glm_gguf.llama.cpu_kernels import advise_huge_pages, own_memory
from glm_gguf.llama.llama_log import collected_errors
from glm_gguf.llama.load_plan import LoadPlan
from glm_gguf.llama.model_file import ModelFile
from glm_gguf.llama.shared_pointer import Refusal, SharedPointer
from glm_gguf.llama.vocabulary import Vocabulary

# enum llama_load_mode of llama.h: (mmap, mlock) → mode
LOAD_MODES: Final = MappingProxyType({(False, False): 0, (True, False): 1, (False, True): 2, (True, True): 3})


class ModelHandle:
    """Owner of a llama_model, loaded from a checked file by a plan; EngineError where loading fails."""

    def __init__(self, file: ModelFile, plan: LoadPlan) -> None:
        self.file = file
        self.path = file.path
        self.metadata = file.metadata
        self._shared = SharedPointer(_loaded(file.contents.first.path, plan), llama_cpp.llama_model_free, self.path)
        try:
            self.vocabulary = Vocabulary(self._shared, self.metadata)
        except BaseException:
            self.close()
            raise

    def acquire(self) -> llama_cpp.llama_model_p:
        """Return the llama_model, which is not freed before release(); EngineError after close()."""
        return self._shared.acquire()

    def release(self) -> None:
        """Need the llama_model no longer."""
        self._shared.release()

    def close(self, refusal: Refusal | None = None) -> None:
        """Free the weights, when the last context and thread that uses them is done; doing it twice does no harm.

        Whoever asks for them then gets the `refusal`.
        """
        self._shared.close(refusal)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _loaded(path: Path, plan: LoadPlan) -> llama_cpp.llama_model_p:
    """Have a thread of its own load the weights; whoever is interrupted meanwhile leaves nothing behind.

    libgomp's threads that help to repack stay as long as the one they help. With more of them than cores, those that
    compute later would sleep at barriers instead of spinning.
    """
    unwanted = threading.Event()
    with ThreadPoolExecutor(1) as passing:
        loading = passing.submit(_load, path, plan, unwanted)
        try:
            return loading.result()
        except BaseException:
            unwanted.set()
            loading.add_done_callback(_free_unwanted)
            raise


def _free_unwanted(loading: Future[llama_cpp.llama_model_p]) -> None:
    """Free a model that came all the same."""
    if loading.exception() is None:
        llama_cpp.llama_model_free(loading.result())


def _load(path: Path, plan: LoadPlan, unwanted: threading.Event) -> llama_cpp.llama_model_p:
    """Have llama.cpp read or map the weights."""
    # struct llama_model * llama_model_load_from_file(const char * path_model, struct llama_model_params params)
    parameters = llama_cpp.llama_model_default_params()
    options, offload = plan.options, plan.offload
    parameters.n_gpu_layers = offload.n_on_gpus
    # ggml_backend_dev_t * devices: NULL-terminated; with none in it, no GPU helps to read prompts either
    devices = (ctypes.c_void_p * (len(offload.gpus) + 1))(*[gpu.pointer for gpu in offload.gpus])
    parameters.devices = ctypes.cast(devices, ctypes.c_void_p)
    # float * tensor_split [llama_max_devices()]: NULL or nothing but zeros is by free memory
    split = (ctypes.c_float * llama_cpp.llama_max_devices())(*offload.split)
    parameters.tensor_split = split
    parameters.load_mode = LOAD_MODES[options.mmap, options.mlock]
    parameters.use_extra_bufts = plan.repack
    before = own_memory()

    # bool (*llama_progress_callback)(float progress, void * user_data): 0 when all is allocated and nothing read yet;
    # false ends the loading
    @llama_cpp.llama_progress_callback  # type: ignore[untyped-decorator]
    def allocated(progress: float, _: object) -> bool:
        if progress == 0:
            advise_huge_pages(before)
        return not unwanted.is_set()

    parameters.progress_callback = allocated
    with collected_errors() as errors:
        pointer: llama_cpp.llama_model_p | None = llama_cpp.llama_model_load_from_file(os.fsencode(path), parameters)
    if not pointer:
        reason = f": {errors[0]}" if errors else ""
        fix = "lower n_gpu_layers" if offload.n_on_gpus else None
        raise EngineError(f"llama.cpp could not load the model{reason}", path=path, fix=fix)
    return pointer
