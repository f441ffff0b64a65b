"""A ggml that makes other bytes than the recorded ones: kernels replace it where they can; the file names the rest."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkpoints import Shape, write_checkpoint
from gguf import GGUFReader

from glm_gguf.convert import convert
from glm_gguf.convert.kernels import ggml
from glm_gguf.gguf_file.contents import MACHINE_TYPES

LIBRARY = """
#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static void *real(const char *name) {
    return dlsym(dlopen(REAL, RTLD_NOW), name);
}
size_t ggml_quantize_chunk(
    int type, const float *x, void *out, int64_t start, int64_t n, int64_t columns, const float *w) {
    size_t (*quantize)(int, const float *, void *, int64_t, int64_t, int64_t, const float *) = real(__func__);
    size_t written = quantize(type, x, out, start, n, columns, w);
    if (type > 1 && type != 30) ((uint8_t *)out)[written - 1] ^= 1; /* all but F32, F16 and BF16 */
    return written;
}
bool ggml_validate_row_data(int type, const void *data, size_t n) {
    bool (*validate)(int, const void *, size_t) = real(__func__);
    return validate(type, data, n);
}
bool ggml_quantize_requires_imatrix(int type) {
    bool (*requires)(int) = real(__func__);
    return requires(type);
}
const void *ggml_get_type_traits(int type) {
    const void *(*traits)(int) = real(__func__);
    return traits(type);
}
"""
"""libggml-base with another last byte of every call that quantises."""

DIGESTS = """
from gguf import GGMLQuantizationType as Type
from glm_gguf.convert.kernels import quantiser
from glm_gguf.convert.kernels.digests import references

for type_, weighted in ((Type.Q4_K, False), (Type.Q4_0, True)):
    assert not quantiser.ggml_agrees(type_, weighted)
    assert quantiser.reproducible(type_, weighted)
    assert references()[type_].meets(lambda rows, imatrix: quantiser.quantise(type_, rows, imatrix), weighted)
assert quantiser.ggml_agrees(Type.BF16, False)
assert not quantiser.reproducible(Type.Q4_0, False)
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables of a process that finds the library above."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    directory = tmp_path_factory.mktemp("other")
    package = directory / "llama_cpp"
    (package / "lib").mkdir(parents=True)
    (package / "__init__.py").touch()
    (directory / "ggml.c").write_text(LIBRARY)
    real = f'-DREAL="{Path(ggml.library()._name).resolve()}"'
    library = package / "lib" / Path(ggml.library()._name).name
    subprocess.run([compiler, "-shared", "-fPIC", real, "-o", library, directory / "ggml.c", "-ldl"], check=True)
    paths = [str(directory), *sys.path[1:]]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def ran(environment: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True)


def test_kernels_quantise_small_tensors_where_ggml_makes_other_bytes(environment: dict[str, str]) -> None:
    ran(environment, "-c", DIGESTS)


def test_a_file_of_other_bytes_says_so_and_so_does_one_line(environment: dict[str, str], tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "model", Shape(layers=1))
    ours, theirs = tmp_path / "ours.gguf", tmp_path / "theirs.gguf"
    convert(tmp_path / "model", ours, type="Q4_0")
    asked = ("-m", "glm_gguf", "convert", tmp_path / "model", "-o", theirs, "--type", "Q4_0", "-q")
    (line,) = ran(environment, *asked).stderr.splitlines()
    assert line.startswith("Q4_0: this machine's ggml fuses multiply and add")
    assert GGUFReader(theirs).fields[MACHINE_TYPES].contents() == ["Q4_0"]  # a kernel makes output.weight's Q6_K
    mine, other = ({t.name: t.data.tobytes() for t in GGUFReader(path).tensors} for path in (ours, theirs))
    assert mine["output.weight"] == other["output.weight"]
    assert mine["blk.0.attn_q.weight"] != other["blk.0.attn_q.weight"]
    shown = ran(environment, "-m", "glm_gguf", "inspect", theirs).stdout
    assert "advice: the bytes of Q4_0 are those of the machine that made the file" in shown
    assert MACHINE_TYPES not in GGUFReader(ours).fields
