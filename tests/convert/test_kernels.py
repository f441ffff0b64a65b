"""Each of our kernels gives ggml's bytes on every input."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import Shape, write_checkpoint
from every_type import IMATRIX_ONLY
from gguf import GGMLQuantizationType, GGUFReader
from guarded_arrays import guarded
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from peers import llama_quantize, tensors_of

from glm_gguf.convert import ConvertOptions, TypeChoices, convert
from glm_gguf.convert.kernels import ggml, iq3_xxs, quantiser
from glm_gguf.convert.kernels.grids import grid_of
from glm_gguf.convert.kernels.half import from_half, nearest_int, to_half
from glm_gguf.convert.kernels.nonlinear import BORDERS, FLOAT_VALUES
from glm_gguf.convert.kernels.quantiser import PLAIN, WEIGHTED, Kernel
from glm_gguf.convert.recipe.file_types import FILE_TYPES
from glm_gguf.convert.recipe.imatrix import Imatrix

Floats = np.ndarray
LARGEST = np.float32(2**30)  # the bound of convert/writing/rows.py: ggml aborts on larger ones in some types

CASES = [pytest.param(type_, False, id=type_.name) for type_ in sorted(PLAIN)]
CASES += [pytest.param(type_, True, id=f"{type_.name}-imatrix") for type_ in sorted(WEIGHTED)]


def compiled(type_: GGMLQuantizationType, weighted: bool) -> Kernel:
    found = quantiser.kernel(type_, weighted)
    assert found is not None
    return found


def importance(n_columns: int, seed: int = 0) -> Floats:
    """Importances over several magnitudes, a tenth of them and a whole block zero."""
    rng = np.random.default_rng(seed)
    values = rng.random(n_columns, np.float32) ** 5
    values[rng.random(n_columns) < 0.1] = 0
    values[32:64] = 0
    return values


def assert_same(type_: GGMLQuantizationType, weighted: bool, rows: Floats, seed: int = 0) -> None:
    rows = np.ascontiguousarray(rows, np.float32)
    imatrix = importance(rows.shape[1], seed) if weighted else None
    ours = quantiser.run(compiled(type_, weighted), type_, rows, imatrix)
    different = np.argwhere((ours != ggml.quantise(type_, rows, imatrix)).any(axis=1))
    assert not different.size, f"rows {different.ravel()[:10]} differ"


def normal(shape: tuple[int, int], seed: int = 0) -> Floats:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def bf16(values: Floats) -> Floats:
    return (np.asarray(values, np.float32).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


SHAPE = (40, 1536)
SIGNS = np.where(normal(SHAPE, 1) < 0, -1.0, 1.0)
RNG = np.random.default_rng(2)
INPUTS = {
    "normal": normal(SHAPE),
    "bf16": bf16(normal(SHAPE) * np.float32(0.02)),
    "zero": np.zeros(SHAPE),
    "negative-zero": np.full(SHAPE, -0.0),
    "mixed-sign-zero": SIGNS * 0.0,
    "constant": np.full(SHAPE, 0.37),
    "negative-constant": np.full(SHAPE, -0.37),
    "two-values": SIGNS,
    "nearly-constant": normal(SHAPE) * np.float32(1e-7) - 1,
    "denormal": SIGNS * 1e-44,
    "denormal-normal": normal(SHAPE) * 1e-39,
    "below-group-max-eps": normal(SHAPE) * 1e-16,
    "around-group-max-eps": normal(SHAPE) * 1e-15,
    "half-denormal-scales": normal(SHAPE) * 1e-5,
    "half-underflow": normal(SHAPE) * 1e-7,
    "half-overflow": normal(SHAPE) * 1e6,
    "huge": np.clip(normal(SHAPE) * 3e8, -LARGEST, LARGEST),
    "heavy-tailed": RNG.standard_t(1.5, SHAPE),
    "laplace": RNG.laplace(size=SHAPE),
    "one-outlier": normal(SHAPE) * np.where(np.arange(1536) % 256 == 77, 1e4, 1),
    "many-magnitudes": normal(SHAPE) * 10.0 ** RNG.integers(-30, 5, SHAPE),
    "block-magnitudes": normal(SHAPE) * np.repeat(10.0 ** RNG.integers(-9, 3, (40, 48)), 32, axis=1),
    "negative-only": -np.abs(normal(SHAPE)),
    "positive-only": np.abs(normal(SHAPE)) + 0.5,
    "sparse": normal(SHAPE) * (RNG.random(SHAPE) < 0.01),
    "one-weight": np.where(np.arange(1536) % 256 == 100, -0.3, 0.0) * np.ones((40, 1)),
    "grid-of-ties": np.round(normal(SHAPE) * 4) / 8,
    "borders-of-levels": RNG.integers(-15, 16, SHAPE) * np.float32(1 / 15),
    "ramp": np.linspace(-1, 1, 40 * 1536).reshape(SHAPE),
    "every-bf16": np.where(
        np.abs(bits := (np.arange(40 * 1536, dtype=np.uint32) << 16).view(np.float32)) <= LARGEST, bits, 0
    ).reshape(SHAPE),
}


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize(("type_", "weighted"), CASES)
def test_bytes_are_ggmls(type_: GGMLQuantizationType, weighted: bool, kind: str) -> None:
    assert_same(type_, weighted, INPUTS[kind])


@pytest.mark.parametrize("n_columns", [256, 512, 768, 4096, 13824])
@pytest.mark.parametrize(("type_", "weighted"), CASES)
def test_bytes_are_ggmls_for_rows_of_every_width(type_: GGMLQuantizationType, weighted: bool, n_columns: int) -> None:
    for n_rows in (1, 2, 3, 5, 16, 17):
        assert_same(type_, weighted, normal((n_rows, n_columns), n_rows), seed=n_rows)


@pytest.mark.parametrize(("type_", "weighted"), CASES)
def test_bytes_are_ggmls_on_a_million_weights(type_: GGMLQuantizationType, weighted: bool) -> None:
    assert_same(type_, weighted, bf16(normal((512, 2048), 11)) ** 3, seed=1)


@pytest.mark.parametrize(("type_", "weighted"), CASES)
@settings(max_examples=40, deadline=None)
@given(
    bits=st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=64),
    seed=st.integers(0, 2**32 - 1),
    exponent=st.integers(-120, 20),
)
def test_bytes_are_ggmls_whatever_the_bits(
    type_: GGMLQuantizationType, weighted: bool, bits: list[int], seed: int, exponent: int
) -> None:
    rng = np.random.default_rng(seed)
    few = np.array(bits, np.uint32) << 16
    few = few[few & 0x7F800000 < 0x4E800000].view(np.float32)  # below 2^30, and finite
    few = np.append(few, np.float32(1))
    chosen, scaled = rng.choice(few, (3, 512)), np.ldexp(normal((1, 512), seed % 1000), exponent)
    rows = np.concatenate([chosen, scaled, chosen[:1] * SIGNS[:1, :512]])
    assert_same(type_, weighted, rows, seed)


@pytest.mark.skipif(sys.platform == "win32", reason="mprotect is of POSIX")
@pytest.mark.parametrize("at_end", [False, True], ids=["before", "behind"])
@pytest.mark.parametrize(("type_", "weighted"), CASES)
def test_a_kernel_touches_nothing_beside_its_arrays(type_: GGMLQuantizationType, weighted: bool, at_end: bool) -> None:
    for n_rows, n_columns, scale in ((1, 256, 1), (17, 256, LARGEST), (3, 768, 1e-42), (33, 768, 1)):
        rows = normal((n_rows, n_columns), n_rows).clip(-1, 1) * np.float32(scale)
        expected = ggml.quantise(type_, rows, importance(n_columns) if weighted else None)
        out = guarded(np.zeros_like(expected), at_end=at_end)
        given = quantiser.flat(guarded(importance(n_columns), at_end=at_end)) if weighted else None
        compiled(type_, weighted)(quantiser.flat(guarded(rows, at_end=at_end)), given, out)
        assert np.array_equal(out, expected.reshape(-1))


@pytest.mark.parametrize(("type_", "weighted"), CASES)
def test_a_kernel_with_one_wrong_byte_does_not_pass_the_self_check(type_: GGMLQuantizationType, weighted: bool) -> None:
    right = compiled(type_, weighted)

    def wrong(rows: Floats, imatrix: Floats | None, out: Floats) -> None:
        right(rows, imatrix, out)
        out[out.size // 3] ^= 1

    assert quantiser.agrees(right, type_, weighted)
    assert not quantiser.agrees(wrong, type_, weighted)


def test_a_grid_that_is_not_the_recorded_one_is_refused() -> None:
    form = replace(iq3_xxs.FORM, digest="0" * 64)
    with pytest.raises(RuntimeError, match="ggml has another grid of IQ3_XXS"):
        grid_of(form, iq3_xxs.all_points())


def test_read_only_and_mapped_rows_need_no_copy(tmp_path: Path) -> None:
    rows = normal((16, 512))
    rows.tofile(tmp_path / "rows")
    mapped = np.memmap(tmp_path / "rows", np.float32, "r", shape=(16, 512))
    found = compiled(GGMLQuantizationType.Q6_K, False)
    ours = quantiser.run(found, GGMLQuantizationType.Q6_K, mapped, None)
    assert np.array_equal(ours, ggml.quantise(GGMLQuantizationType.Q6_K, rows, None))


SCRIPT = """
import logging, sys
import numpy as np
from gguf import GGMLQuantizationType
from glm_gguf.convert.kernels import ggml, quantiser

logging.basicConfig(format="%(message)s", stream=sys.stdout)
rows = np.random.default_rng(0).standard_normal(({n_rows}, 4096), np.float32)
{before}
for _ in range(3):
    ours = quantiser.quantise(GGMLQuantizationType.Q6_K, rows, None)
assert np.array_equal(ours, ggml.quantise(GGMLQuantizationType.Q6_K, rows, None))
{after}
"""


def run(**parts: object) -> list[str]:
    script = SCRIPT.format(**{"before": "", "after": "", **parts})
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.splitlines()


def test_without_numba_ggml_quantises_and_one_line_says_so() -> None:
    (line,) = run(n_rows=256, before="sys.modules['numba'] = None")
    assert line.startswith("ggml quantises, for our kernels cannot be compiled:")
    assert "pip install 'glm-gguf[fast]'" in line


WITHOUT_NUMBA = """
import sys

sys.modules["numba"] = None
from glm_gguf import convert
from glm_gguf.convert.kernels import quantiser

quantiser.WORTH_COMPILING = 1
convert(sys.argv[1], sys.argv[2], type="Q4_K_M")
"""


def test_a_conversion_without_numba_says_so_once_and_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, compiled_, plain = (tmp_path / name for name in ("source", "compiled.gguf", "plain.gguf"))
    write_checkpoint(checkpoint, Shape())
    monkeypatch.setattr(quantiser, "WORTH_COMPILING", 1)
    convert(checkpoint, compiled_, type="Q4_K_M")  # types Q4_K and Q6_K
    command = [sys.executable, "-c", WITHOUT_NUMBA, str(checkpoint), str(plain)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert plain.read_bytes() == compiled_.read_bytes()
    (line,) = done.stderr.splitlines()
    assert line.startswith("ggml quantises, for our kernels cannot be compiled: ")


def test_small_tensors_do_not_load_numba() -> None:
    assert run(n_rows=255, after="assert 'numba' not in sys.modules") == []


def test_large_tensors_are_quantised_by_a_kernel() -> None:
    assert run(n_rows=256, after="assert 'numba' in sys.modules") == []


COMPILE = """
from gguf import GGMLQuantizationType
from glm_gguf.convert.kernels import quantiser

assert all(quantiser.kernel(GGMLQuantizationType[name], False) for name in ("Q4_K", "Q5_K"))
"""


def test_a_machine_compiles_a_kernel_once_also_where_types_share_its_source(tmp_path: Path) -> None:
    kept = []
    for _ in range(2):
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
        subprocess.run([sys.executable, "-c", COMPILE], env=environment, check=True)
        kept.append({path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc")})
    assert len(kept[0]) == 2
    assert kept[0] == kept[1]


STORED = """
from glm_gguf.convert.kernels.compiled import kernel, stored_processors

def twice(x):
    return 2 * x

compiled = kernel(twice)
before = len(stored_processors(compiled))
assert compiled(21) == 42
print(before, len(stored_processors(compiled)))
"""


@pytest.mark.parametrize(("ending", "left"), [(".nbc", 0), (".nbi", 40)], ids=["empty", "cut"])
def test_machine_code_that_a_crash_has_damaged_is_compiled_anew(ending: str, left: int, tmp_path: Path) -> None:
    def stored() -> str:
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "stored")}
        command = [sys.executable, tmp_path / "twice.py"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    (tmp_path / "twice.py").write_text(STORED)
    assert stored() == "0 1\n"
    (damaged,) = tmp_path.rglob(f"*{ending}")
    damaged.write_bytes(damaged.read_bytes()[:left])
    assert stored() == ("0 1\n" if ending == ".nbi" else "1 1\n")
    assert stored() == "1 1\n"
    assert len(list(tmp_path.rglob("*.nbc"))) == 1


def test_types_of_one_source_never_share_a_file_of_machine_code(tmp_path: Path) -> None:
    """Two processes that begin at once see no index of each other; here the first one's is gone."""
    for type_ in ("A", "B"):
        (tmp_path / "twice.py").write_text(STORED.replace("kernel(twice)", f"kernel(twice, {type_!r})"))
        os.utime(tmp_path / "twice.py", (0, 0))
        for index in tmp_path.rglob("*.nbi"):
            index.unlink()
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "stored")}
        subprocess.run([sys.executable, tmp_path / "twice.py"], env=environment, check=True)
    assert len(list(tmp_path.rglob("*.nbc"))) == 2


WHILE_COMPILING = """
import time
from threading import Thread

import numpy as np
from gguf import GGMLQuantizationType as Type
from glm_gguf.convert.kernels import quantiser
from glm_gguf.convert.kernels.codes import FEW  # numba is loaded

rows = np.random.default_rng(0).standard_normal((512, 2048), np.float32)
compiling = Thread(target=quantiser.kernel, args=(Type.IQ2_XXS, True))
compiling.start()
while compiling.is_alive() and not quantiser._CHECKING[Type.IQ2_XXS, True].locked():
    time.sleep(0.001)
made = [quantiser.quantise(type_, rows, None) for type_ in (Type.Q8_0, Type.F16)]
print(compiling.is_alive())
compiling.join()
"""


def test_types_without_a_kernel_are_quantised_while_a_kernel_is_compiled(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", WHILE_COMPILING]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


CHECK = """
from gguf import GGMLQuantizationType as Type
from glm_gguf.convert.kernels import quantiser

assert quantiser.kernel(Type.Q4_K, True)
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="processors of x86-64")
@pytest.mark.parametrize("processor", ["x86-64", "haswell"], ids=["SSE2", "AVX2-FMA"])
def test_the_bytes_are_the_same_for_older_processors(processor: str, tmp_path: Path) -> None:
    chosen = {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", CHECK], env={**os.environ, **chosen}, check=True)


def applied(function: Callable[..., Any], values: np.ndarray) -> list[Any]:
    """A function that kernels call, compiled into a loop over `values`."""

    @njit
    def loop(values: np.ndarray) -> list[Any]:
        return [function(value) for value in values]

    return loop(values)


def test_halves_are_ieee() -> None:
    bits = np.arange(0x7C02, dtype=np.uint16)  # infinity and a NaN last
    values = bits.view(np.float16).astype(np.float32)
    assert applied(to_half, values[:-1]) == list(bits[:-1])
    assert np.array_equal(applied(from_half, bits.astype(np.int64)), values, equal_nan=True)
    assert applied(to_half, np.float32([np.nan])) == [0x7E00]
    rng = np.random.default_rng(5)
    random = rng.integers(0, 2**32, 4000, np.uint32).view(np.float32)
    random = np.concatenate([random, rng.standard_normal(4000, np.float32) * np.float32(1e-6)])
    random = random[np.isfinite(random)]
    with np.errstate(over="ignore"):
        assert applied(to_half, random) == list(random.astype(np.float16).view(np.uint16))


def test_rounding_wraps_as_ggmls() -> None:
    values = np.float32([0.5, 1.5, -2.5, 2.5000002, 4194303, 4194304, 1e9, -1e9, np.inf, -np.inf, np.nan])
    shifted = (values + np.float32(12582912)).view(np.int32)
    assert applied(nearest_int, values) == list((shifted & 0x7FFFFF) - 0x400000)


def best_index(x: np.float32) -> int:
    """best_index_int8 (ggml-quants.c): which of the neighbours of x is nearer, by two differences."""
    above = int(np.searchsorted(FLOAT_VALUES, x, side="right"))
    if above in (0, 16):
        return min(above, 15)
    return above - 1 if x - FLOAT_VALUES[above - 1] < FLOAT_VALUES[above] - x else above


def test_borders_between_the_values_of_iq4_are_where_ggmls_comparison_turns() -> None:
    bits = BORDERS.view(np.int32)[:, None] + np.arange(-40, 41, dtype=np.int32)
    around = np.append(bits.view(np.float32).ravel(), FLOAT_VALUES)
    assert [best_index(x) for x in around] == [int((x >= BORDERS).sum()) for x in around]


WIDE = Shape(hidden=1024, ffn=1120, layers=1, heads=8, kv_heads=1, head_dim=128, vocab=1100)
"""Its matrices are large enough for kernels; rows of 1120 weights do not divide into super-blocks."""


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wide")
    write_checkpoint(directory / "model", WIDE)
    convert(directory / "model", directory / "bf16.gguf", ConvertOptions(types=TypeChoices(type="BF16")))
    return directory


FILES = [
    pytest.param(type_, weighted, id=f"{type_}-{'imatrix' if weighted else 'plain'}")
    for type_ in (
        "Q2_K",
        "Q3_K_M",
        "Q4_K_M",
        "Q5_K_M",
        "IQ4_XS",
        "IQ4_NL",
        "IQ3_XXS",
        "IQ3_S",
        "IQ2_XXS",
        "IQ2_XS",
        "IQ2_M",
        "IQ1_S",
        "IQ1_M",
    )
    for weighted in (False, True)
    if weighted or type_ not in IMATRIX_ONLY
]


@pytest.mark.parametrize(("type_", "weighted"), FILES)
def test_a_file_of_large_tensors_is_the_one_llama_quantize_makes(
    wide: Path, type_: str, weighted: bool, tmp_path: Path
) -> None:
    ours, theirs = tmp_path / "ours.gguf", tmp_path / "theirs.gguf"
    entries, path = {}, None
    if weighted:
        path = wide / "imatrix.dat"
        entries = write_imatrix(path, wide / "bf16.gguf")
    convert(wide / "model", ours, ConvertOptions(types=TypeChoices(type=type_, imatrix=path)))
    llama_quantize(wide / "bf16.gguf", theirs, FILE_TYPES[type_].id, imatrix=entries or None)
    assert tensors_of(ours) == tensors_of(theirs)


def write_imatrix(path: Path, model: Path) -> dict[str, Floats]:
    """Importances of every matrix's columns in the older form, with one call an entry."""
    columns = {tensor.name: int(tensor.shape[0]) for tensor in GGUFReader(model).tensors if len(tensor.shape) > 1}
    with path.open("wb") as file:
        file.write(np.int32(len(columns)).tobytes())
        for name, n in columns.items():
            file.write(np.int32(len(name)).tobytes() + name.encode() + np.int32([1, n]).tobytes())
            file.write(importance(n, n).tobytes())
        file.write(np.int32([1, 4]).tobytes() + b"text")
    return dict(Imatrix.read(path).entries)
