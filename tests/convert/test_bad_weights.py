"""Errors of NaN, infinities and weights outside of their type's range name tensor and index; ggml never aborts."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from checkpoints import Shape, write_checkpoint
from damage import SHARD, SMALL, choose, copied, refusal, says, set_weights
from gguf import GGMLQuantizationType as Type

from glm_gguf.convert import convert
from glm_gguf.convert.kernels import ggml
from glm_gguf.convert.recipe.file_types import FILE_TYPES
from glm_gguf.convert.recipe.imatrix import MAX_IMPORTANCE
from glm_gguf.convert.writing.rows import LARGEST
from glm_gguf.errors import WeightError

EMBEDDING, NORM, Q = "model.embed_tokens.weight", "model.norm.weight", "model.layers.1.self_attn.q_proj.weight"


@pytest.fixture(scope="module", params=["BF16", "F16", "F32"])
def good(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("good") / "model", SMALL, dtype=request.param)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its embedding has rows for three chunks."""
    shape = Shape(**{**SMALL.__dict__, "layers": 1, "vocab": 40_000})
    return write_checkpoint(tmp_path_factory.mktemp("good") / "model", shape)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf], ids=str)
@pytest.mark.parametrize(
    ("name", "index"),
    [(EMBEDDING, (0, 0)), (EMBEDDING, (299, 63)), (Q, (17, 5)), (NORM, (0,)), (NORM, (63,))],
    ids=["first", "last", "matrix", "vector-first", "vector-last"],
)
@pytest.mark.parametrize("type_", ["Q8_0", "BF16", "F32"])
def test_a_weight_that_is_no_number_is_named(
    type_: str, name: str, index: tuple[int, ...], value: float, good: Path, tmp_path: Path
) -> None:
    source = copied(good, tmp_path / "model")
    set_weights(source / SHARD, name, {index: value})
    place = f"{name}[{', '.join(map(str, index))}] is {value}"
    says(refusal(source, choose(type_), kind=WeightError), SHARD, place)


@pytest.mark.parametrize("row", [0, 16_383, 16_384, 39_999])
@pytest.mark.parametrize("type_", ["Q4_0", "BF16"])
def test_rows_are_counted_over_all_chunks(type_: str, row: int, long: Path, tmp_path: Path) -> None:
    source = copied(long, tmp_path / "model")
    set_weights(source / SHARD, EMBEDDING, {(row, 7): math.nan})
    says(refusal(source, choose(type_), kind=WeightError), f"{EMBEDDING}[{row}, 7] is nan")


def test_the_first_of_several_is_named(long: Path, tmp_path: Path) -> None:
    source = copied(long, tmp_path / "model")
    set_weights(source / SHARD, EMBEDDING, {(30_000, 1): math.nan, (20_000, 9): math.inf, (20_000, 3): -math.inf})
    says(refusal(source, choose(), kind=WeightError), f"{EMBEDDING}[20000, 3] is -inf")


PAST = {
    "F16": (1e6, "1e+06"),
    "Q8_0": (1e30, "1e+30"),
    "Q4_0": (1e30, "1e+30"),
    "Q4_K_M": (3e38, "3e+38"),
    "IQ4_XS": (1e20, "1e+20"),
    "IQ4_NL": (-1e9, "-1e+09"),
    "BF16": (3.4e38, "3.4e+38"),
}


@pytest.mark.parametrize("type_", PAST)
def test_a_weight_past_the_range_of_its_type_is_named(type_: str, tmp_path: Path) -> None:
    value, shown = PAST[type_]
    source = write_checkpoint(tmp_path / "model", Shape(layers=1), dtype="F32")
    set_weights(source / SHARD, "model.layers.0.self_attn.q_proj.weight", {(3, 200): value})
    line = refusal(source, choose(type_), kind=WeightError)
    says(line, SHARD, f"model.layers.0.self_attn.q_proj.weight[3, 200] is {shown}", "range", "F32")


def test_f32_holds_every_finite_weight(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "model", SMALL, dtype="F32")
    set_weights(source / SHARD, Q, {(0, 0): 3.4e38, (0, 1): -3.4e38, (0, 2): 1e-45})
    convert(source, tmp_path / "out.gguf", choose("F32"))


@pytest.mark.parametrize("type_", [name for name in FILE_TYPES if name not in ("F32", "F16", "BF16")])
def test_no_weight_however_large_aborts_the_process(type_: str, tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "model", Shape(layers=1, heads=2, kv_heads=1, ffn=256), dtype="F32")
    values = {(0, column): (-1) ** column * 3e38 for column in range(256)}
    set_weights(source / SHARD, "model.layers.0.self_attn.v_proj.weight", values)
    (tmp_path / "imatrix.dat").write_bytes(unit_imatrix(256, 256))
    options = choose(type_, imatrix=tmp_path / "imatrix.dat")
    says(refusal(source, options, kind=WeightError), "model.layers.0.self_attn.v_proj.weight[0, 0] is 3e+38")


def unit_imatrix(*widths: int) -> bytes:
    """Importance 1 of every column of the one layer that a test quantises."""
    names = [f"blk.0.{name}.weight" for name in ("attn_q", "attn_k", "attn_v", "ffn_up")]
    widths_of = {**dict.fromkeys(names, widths[0]), "blk.0.ffn_down.weight": widths[1]}
    widths_of |= {"blk.0.attn_output.weight": 128, "token_embd.weight": widths[0], "output.weight": widths[0]}
    data = np.int32(len(widths_of)).tobytes()
    for name, width in widths_of.items():
        data += np.int32(len(name)).tobytes() + name.encode() + np.array([1, width], np.int32).tobytes()
        data += np.ones(width, np.float32).tobytes()
    return data


SCALES = {"largest": LARGEST, "usual": 0.05, "small": 1e-20, "least": 1e-45}
WEIGHINGS = {"largest": MAX_IMPORTANCE, "one": 1.0, "least": 1e-45, "zero": 0.0}
BLOCK_TYPES = sorted({file.base for file in FILE_TYPES.values()} - {Type.F32, Type.F16, Type.BF16})


@pytest.mark.parametrize("type_", BLOCK_TYPES, ids=lambda type_: type_.name)
def test_whatever_passes_the_checks_quantises(type_: Type) -> None:
    """Beyond LARGEST and MAX_IMPORTANCE the same call ends the process (seen from 1e12 and 1e15 on)."""
    rng = np.random.default_rng(11)
    for scale in SCALES.values():
        for weighing in WEIGHINGS.values():
            rows = np.clip(rng.standard_normal((2, 512)) * scale, -LARGEST, LARGEST).astype(np.float32)
            rows[0, rng.random(512) < 0.1] = LARGEST
            columns = np.clip(rng.gamma(1.0, 1.0, 512) * weighing, 0, MAX_IMPORTANCE).astype(np.float32)
            columns[rng.random(512) < 0.1] = 0
            assert ggml.quantise(type_, rows, columns).shape[0] == 2
