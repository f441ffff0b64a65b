"""ggml's RPC server as a program: it lends devices of this machine to one client of a worker.

`python -m glm_gguf.llama.rpc_server HOST:PORT THREADS MEMORY [DEVICE]...`: a line of JSON tells the devices, and then
whoever connects is served until stdin ends. MEMORY is the most bytes of each device, or 0.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Sequence

from glm_gguf.errors import EngineError
from glm_gguf.llama.devices import cpu_device, named_gpus, rpc_function
from glm_gguf.llama.free_memory import free_memory
from glm_gguf.llama.library import llama_cpp
from glm_gguf.llama.offload import SPARE
from glm_gguf.workers.greeting import LentDevice, devices_line


def main(endpoint: str, threads: str, memory: str, *names: str) -> None:
    """Tell what is lent, and serve."""
    llama_cpp.llama_backend_init()
    gpus = named_gpus(names)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    most = int(memory) or 2**62
    if gpus:
        lent = [LentDevice(gpu.name, gpu.description, min(most, max(0, (gpu.memory or 0) - SPARE))) for gpu in gpus]
        pointers = [gpu.pointer for gpu in gpus]
    else:
        free = free_memory()
        pointer, description = cpu_device()
        lent = [LentDevice("CPU", description, min(most, max(0, free.available - free.for_others)))]
        pointers = [pointer]
    sys.stdout.buffer.write(devices_line(lent))
    sys.stdout.buffer.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # ggml prints more
    serve(endpoint, int(threads), pointers)


def serve(endpoint: str, threads: int, devices: Sequence[int]) -> None:
    """Serve clients, one after the other; EngineError where that ends: it ends for errors alone."""
    # void ggml_backend_rpc_start_server(const char * endpoint, const char * cache_dir, size_t n_threads,
    #                                    size_t n_devices, ggml_backend_dev_t * devices)
    size = ctypes.c_size_t
    arguments = ctypes.c_char_p, ctypes.c_char_p, size, size, ctypes.POINTER(ctypes.c_void_p)
    start = rpc_function("ggml_backend_rpc_start_server", None, *arguments)
    start(endpoint.encode(), None, threads, len(devices), (ctypes.c_void_p * len(devices))(*devices))
    raise EngineError("ggml's RPC server ended", where=endpoint)


def _end_with_parent() -> None:
    """End this process when the parent ends: stdin is a pipe from it."""
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
