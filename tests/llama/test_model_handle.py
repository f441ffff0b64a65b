"""Files are checked before llama.cpp sees them, and loaded models are freed."""

import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from gguf import GGUFWriter
from loading import context_of, opened
from waiting import until

from glm_gguf.errors import EngineError, GgufError, RequestError
from glm_gguf.llama.engine_options import CacheType, EngineOptions
from glm_gguf.llama.model_handle import ModelHandle

OPTIONS = EngineOptions(threads=1)
TASKS = Path("/proc/self/task")


def test_a_model_can_be_closed_twice_and_not_used_after(tiny_gguf: Callable[[str], Path]) -> None:
    handle = opened(tiny_gguf("Q8_0"), OPTIONS)
    assert handle.acquire()
    handle.release()
    handle.close()
    handle.close()
    with pytest.raises(EngineError, match="closed"):
        handle.acquire()


def test_loading_is_silent(tiny_gguf: Callable[[str], Path], capfd: pytest.CaptureFixture[str]) -> None:
    with opened(tiny_gguf("Q8_0"), OPTIONS) as handle, context_of(handle, OPTIONS):
        pass
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kept", [0, 3, 100, 5000, -1000], ids="{} bytes".format)
def test_a_truncated_file_is_refused(tiny_gguf: Callable[[str], Path], tmp_path: Path, kept: int) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(tiny_gguf("Q8_0").read_bytes()[:kept])
    with pytest.raises(GgufError, match="cut"):
        opened(path, OPTIONS)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GgufError, match="no such"):
        opened(tmp_path / "no such.gguf", OPTIONS)


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.gguf"
    writer = GGUFWriter(path, "glm4moe")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(GgufError, match="glm4moe"):
        opened(path, OPTIONS)


def test_a_file_that_llama_cpp_refuses_is_an_error_with_its_reason(
    tiny_gguf: Callable[[str], Path], tmp_path: Path
) -> None:
    path = tmp_path / "renamed.gguf"
    path.write_bytes(tiny_gguf("Q8_0").read_bytes().replace(b"output_norm.weight", b"output_worm.weight"))
    with pytest.raises(EngineError, match=r"could not load the model: .*output_norm"):
        opened(path, OPTIONS)


BAD_OPTIONS: list[dict[str, object]] = [
    {"n_ctx": 0},
    {"n_parallel": 0},
    {"n_parallel": 1000},
    {"yarn": 0.5},
    {"yarn": math.nan},
    {"threads": 1.5},
    {"cache_type_v": CacheType.Q4_0, "flash_attention": False},
    {"n_queue": -1},
    {"n_batch": 0},
    {"n_batch": 10**6},
    {"threads": 0},
    {"n_gpu_layers": -2},
]


@pytest.mark.parametrize("fields", BAD_OPTIONS, ids=str)
def test_options_that_make_no_sense_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(RequestError, match=next(iter(fields))):
        EngineOptions(**fields)  # type: ignore[arg-type]


def test_a_context_beyond_the_model_is_refused(model: ModelHandle) -> None:
    with pytest.raises(RequestError, match="more than the model knows"):
        context_of(model, EngineOptions(n_ctx=1_000_000))


@pytest.mark.skipif(not TASKS.exists(), reason="this system does not list a process's threads")
def test_no_thread_that_helped_to_load_stays(tiny_gguf: Callable[[str], Path]) -> None:
    before = set(os.listdir(TASKS))
    with opened(tiny_gguf("Q4_K_S"), OPTIONS):
        until(lambda: set(os.listdir(TASKS)) <= before)
