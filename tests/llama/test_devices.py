"""A GPU chosen by name computes: another process lends one through llama.cpp's RPC."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from glm_gguf import GLM, EngineOptions, SamplingParams
from glm_gguf.errors import RequestError
from glm_gguf.llama.devices import Device, each_once, gpus

# void ggml_backend_rpc_start_server(const char * endpoint, const char * cache_dir, size_t n_threads,
#                                    size_t n_devices, ggml_backend_dev_t * devices)
LENDER = """
import ctypes, sys
from llama_cpp._ggml import libggml
rpc = ctypes.CDLL(sys.argv[2])
libggml.ggml_backend_dev_by_type.restype = ctypes.c_void_p
device = (ctypes.c_void_p * 1)(libggml.ggml_backend_dev_by_type(0))
rpc.ggml_backend_rpc_start_server(sys.argv[1].encode(), None, ctypes.c_size_t(1), ctypes.c_size_t(1), device)
"""
BORROW = """
import ctypes, os, sys
from llama_cpp._ggml import libggml
rpc = ctypes.CDLL(sys.argv[2])
rpc.ggml_backend_rpc_add_server.restype = ctypes.c_void_p
rpc.ggml_backend_rpc_add_server.argtypes = [ctypes.c_char_p]
libggml.ggml_backend_register.argtypes = [ctypes.c_void_p]
libggml.ggml_backend_register(rpc.ggml_backend_rpc_add_server(sys.argv[1].encode()))
from glm_gguf import GLM, EngineOptions, SamplingParams
from glm_gguf.llama.devices import gpus
from glm_gguf.errors import EngineError
name = gpus()[-1].name
"""
ANSWER = """
sampling = SamplingParams(temperature=0, max_tokens=8)
with GLM(sys.argv[3], options=EngineOptions(threads=1, n_ctx=512, devices=(name,))) as glm:
    print(glm.chat([{"role": "user", "content": "Hello"}], sampling=sampling).content)
print(name)
"""
FORK = """
child = os.fork()
if child == 0:
    GLM(sys.argv[3], options=EngineOptions(threads=1, n_gpu_layers=0)).close()
    try:
        GLM(sys.argv[3], options=EngineOptions(threads=1))
    except EngineError as error:
        os._exit(7 if "forked" in str(error) else 1)
    os._exit(1)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status))
"""


@contextmanager
def lender(library: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A process that computes for others on a port of this machine."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{probe.getsockname()[1]}"
    command = [sys.executable, "-u", "-c", LENDER, endpoint, str(library)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            next(line for line in process.stdout if "transport" in line)
            yield endpoint, process
        finally:
            process.kill()


def borrowed(code: str, model: Path) -> tuple[list[str], str]:
    """Run code that computes with a borrowed device; returns the output of both processes."""
    import llama_cpp

    library = Path(llama_cpp.__file__).parent / "lib" / "libggml-rpc.so"
    if not library.exists():
        pytest.skip("llama-cpp-python was built without GGML_RPC")
    with lender(library) as (endpoint, process):
        command = [sys.executable, "-W", "ignore", "-c", BORROW + code, endpoint, str(library), str(model)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        process.kill()
        heard = process.communicate()[0]
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), heard


def test_a_device_chosen_by_name_computes(tiny_gguf: Callable[[str], Path]) -> None:
    model = tiny_gguf("F16")
    (*content, name), heard = borrowed(ANSWER, model)
    with GLM(model, options=EngineOptions(threads=1, n_ctx=512, n_gpu_layers=0)) as glm:
        here = glm.chat([{"role": "user", "content": "Hello"}], sampling=SamplingParams(temperature=0, max_tokens=8))
    assert "\n".join(content) == here.content
    assert name.startswith("RPC")
    assert "Accepted client connection" in heard


def test_a_forked_child_computes_on_the_cpu_only(tiny_gguf: Callable[[str], Path]) -> None:
    assert borrowed(FORK, tiny_gguf("Q8_0"))[0] == ["7"]


def test_a_device_that_is_not_there_is_refused(tiny_gguf: Callable[[str], Path]) -> None:
    there = ", ".join(device.name for device in gpus()) or "none"
    with pytest.raises(RequestError, match=f"there is no GPU 'CUDA9'; llama.cpp finds: {there}"):
        GLM(tiny_gguf("Q8_0"), options=EngineOptions(devices=("CUDA9",)))


def test_a_gpu_of_two_backends_counts_once() -> None:
    cuda, vulkan, other, inside = (
        Device(name, "", identity, integrated, 1, 0)
        for name, identity, integrated in [
            ("CUDA0", "0000:01:00.0", False),
            ("Vulkan0", "0000:01:00.0", False),
            ("Vulkan1", "0000:02:00.0", False),
            ("Vulkan2", "0000:00:02.0", True),
        ]
    )
    assert each_once([cuda, inside, vulkan, other]) == (cuda, other)
    assert each_once([inside]) == (inside,)
    assert each_once([]) == ()
