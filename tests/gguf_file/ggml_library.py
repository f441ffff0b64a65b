"""The ggml in the installed llama-cpp-python: an independent reader of types and files."""

import ctypes
import importlib.util
from functools import cache
from pathlib import Path


@cache
def ggml() -> ctypes.CDLL:
    """The ggml library inside the installed llama-cpp-python, silenced."""
    spec = importlib.util.find_spec("llama_cpp")
    assert spec is not None
    assert spec.origin is not None
    library = ctypes.CDLL(str(Path(spec.origin).parent / "lib" / "libggml-base.so"))
    # int64_t ggml_blck_size(enum ggml_type); size_t ggml_type_size(...); const char * ggml_type_name(...)
    library.ggml_blck_size.restype = ctypes.c_int64
    library.ggml_type_size.restype = ctypes.c_size_t
    library.ggml_type_name.restype = ctypes.c_char_p
    # struct gguf_context * gguf_init_from_file(const char * fname, struct gguf_init_params params)
    library.gguf_init_from_file.restype = ctypes.c_void_p
    library.gguf_init_from_file.argtypes = [ctypes.c_char_p, InitParams]
    library.gguf_get_data_offset.restype = ctypes.c_size_t
    library.gguf_get_data_offset.argtypes = [ctypes.c_void_p]
    library.gguf_get_n_tensors.restype = ctypes.c_int64
    library.gguf_get_n_tensors.argtypes = [ctypes.c_void_p]
    library.gguf_free.argtypes = [ctypes.c_void_p]
    library.ggml_log_set.argtypes = [LOG_CALLBACK, ctypes.c_void_p]
    library.ggml_log_set(SILENT, None)
    return library


class InitParams(ctypes.Structure):
    # struct gguf_init_params { bool no_alloc; struct ggml_context ** ctx; }
    _fields_ = (("no_alloc", ctypes.c_bool), ("ctx", ctypes.c_void_p))


# typedef void (*ggml_log_callback)(enum ggml_log_level level, const char * text, void * user_data);
LOG_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
SILENT = LOG_CALLBACK(lambda level, message, data: None)
