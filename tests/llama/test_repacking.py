"""Weights are repacked where that was asked for or is faster; llama.cpp's log names the buffer."""

import logging
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import llama_cpp
import numpy as np
import pytest
from loading import context_of, opened, planned

from glm_gguf.errors import EngineError
from glm_gguf.gguf_file.parts import open_all_parts
from glm_gguf.llama.batch import Batch
from glm_gguf.llama.cpu_kernels import Cpu, computes_in_tiles, faulty_amx_compiler, faulty_compiler
from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.llama.load_plan import LoadPlan, Machine

SYSTEM = llama_cpp.llama_print_system_info().decode()
CRASHES = faulty_amx_compiler() is not None
REPACK = pytest.param(True, marks=pytest.mark.skipif(CRASHES, reason="this build's kernels for AMX crash"))
PROMPT = list(range(40, 80))
OPTIONS = EngineOptions(threads=1, n_ctx=512, n_gpu_layers=0)


@pytest.mark.skipif("AVX2 = 1" not in SYSTEM, reason="llama.cpp repacks Q4_0 by other rules on this processor")
@pytest.mark.parametrize("repack", [REPACK, False, None])
def test_llama_cpp_repacks_as_decided(
    tiny_gguf: Callable[[str], Path], repack: bool | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    options = replace(OPTIONS, repack=repack)
    with opened(tiny_gguf("Q4_0"), options) as model:
        done = re.search(r"(CPU_REPACK|AMX) model buffer", caplog.text) is not None
        assert done == planned(model.file, options).repack == (repack is not False and not CRASHES)


@pytest.mark.skipif(CRASHES, reason="this build's kernels for AMX crash")
@pytest.mark.parametrize("type_", ["Q4_K_S", "Q6_K"])
def test_both_kernels_give_the_same_logits(tiny_gguf: Callable[[str], Path], type_: str) -> None:
    logits = []
    for repack in (True, False):
        options = replace(OPTIONS, repack=repack)
        with opened(tiny_gguf(type_), options) as model, context_of(model, options) as context:
            batch = Batch(len(PROMPT))
            row = batch.add(0, 0, PROMPT, outputs=1)
            assert context.decode(batch)
            logits.append(context.logits(row).copy())
    np.testing.assert_allclose(*logits, atol=0.02 * float(np.abs(logits[0]).max()))


@pytest.mark.parametrize("type_", ["Q4_0", "Q4_K_S", "Q6_K"])
def test_weights_larger_than_memory_are_not_copied(tiny_gguf: Callable[[str], Path], type_: str) -> None:
    contents = open_all_parts(tiny_gguf(type_))
    machine = replace(Machine.here(OPTIONS), memory=contents.file_size // 2)
    assert not LoadPlan.estimate(contents, replace(OPTIONS, n_ctx=256), machine).repack


@pytest.mark.skipif(not CRASHES, reason="this build has no kernels that crash")
def test_kernels_that_crash_are_refused(tiny_gguf: Callable[[str], Path]) -> None:
    with pytest.raises(EngineError, match="AMX kernels crash as GCC"):
        opened(tiny_gguf("Q4_K_S"), replace(OPTIONS, repack=True))


@pytest.mark.parametrize(
    ("version", "fault"),
    [("11.4.0", "GCC 11.4"), ("12.3.1", "GCC 12.3"), ("13.2.0", "GCC 13.2")]
    + [(version, None) for version in ("8.5.0", "11.5.0", "12.4.0", "13.3.0", "14.1.0")],
)
def test_compilers_with_the_fault_are_known_by_their_version(tmp_path: Path, version: str, fault: str | None) -> None:
    library = tmp_path / "libggml-cpu.so"
    library.write_bytes(f"\x7fELF...\0GCC: (Debian {version}-3) {version}\0.shstrtab".encode())
    assert faulty_compiler([library]) == fault


@pytest.mark.skipif(shutil.which("gcc") is None or sys.platform != "linux", reason="there is no GCC for ELF here")
def test_gcc_leaves_its_version_in_what_it_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = tmp_path / "made.so"
    subprocess.run(["gcc", "-shared", "-s", "-x", "c", "-", "-o", str(library)], input=b"int f;", check=True)
    version = subprocess.run(["gcc", "-dumpfullversion"], capture_output=True, text=True, check=True).stdout
    major, minor, _ = map(int, version.split("."))
    monkeypatch.setattr("glm_gguf.llama.cpu_kernels.FIXED", {major: minor + 1})
    assert faulty_compiler([library]) == f"GCC {major}.{minor}"


@pytest.mark.skipif("AVX2 = 1" not in SYSTEM, reason="llama.cpp's tiled kernels are for x86")
@pytest.mark.skipif("AVX512 = 1" in SYSTEM, reason="with AVX-512, 8 rows take as long as twice 4")
@pytest.mark.parametrize(
    ("type_", "repacked", "expected"),
    [
        ("Q6_K", True, True),
        ("Q6_K", False, True),
        ("Q4_K_S", True, False),
        ("Q4_K_S", False, True),
        ("F16", False, False),
        ("Q4_0", True, False),
    ],
)
def test_k_quants_that_are_not_repacked_are_computed_in_tiles(
    tiny_gguf: Callable[[str], Path], type_: str, repacked: bool, expected: bool
) -> None:
    tensors = open_all_parts(tiny_gguf(type_)).tensors
    assert computes_in_tiles(tensors, Cpu.here(), on_gpu=False, repacked=repacked) == expected
