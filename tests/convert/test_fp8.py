"""FP8 checkpoints: every weight is its byte's value times its scale in float32, as ml_dtypes and numpy compute it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from adapters import factors, write_adapter
from checkpoints import Shape, map_tensor, random_tensors, stored, write_checkpoint, write_safetensors, write_shards
from checkpoints_2024 import hf_shape, write_chatglm_form
from damage import SHARD, change_config, choose, command_line, refusal, says
from interruptions import Counts, Stops, write_recording

from glm_gguf.convert import ConvertOptions, MergedAdapter, TypeChoices, convert
from glm_gguf.convert.source.checkpoint import Checkpoint
from glm_gguf.convert.source.config import read_config
from glm_gguf.convert.source.fp8 import read_scales, table
from glm_gguf.convert.source.local_shards import LocalShards
from glm_gguf.convert.source.source import Source
from glm_gguf.convert.verify import verify
from glm_gguf.errors import ConfigError, ShardError, WeightError

SHAPE = Shape(hidden=256, ffn=416, layers=2, heads=4, kv_heads=2, head_dim=64, vocab=300)
DTYPES = {"F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2}
SCALES = {
    **{"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16},
    "F8_E8M0": ml_dtypes.float8_e8m0fnu,
}
Tensors = dict[str, tuple[str, Any]]


@dataclass(frozen=True)
class Form:
    """How a quantiser stores FP8: the rows and columns of a block (0 for all), its scales' name, dtype and shape."""

    config: dict[str, Any]
    block: tuple[int, int]
    ending: str = "_scale"
    scales: str = "F32"
    flat: bool = False
    dtype: str = "F8_E4M3"


def groups(**weights: object) -> dict[str, Any]:
    """quantization_config of compressed-tensors."""
    return {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": 8, **weights}}}}


FORMS = {
    "blocks": Form({"quant_method": "fp8", "weight_block_size": [128, 128]}, (128, 128), "_scale_inv"),
    "blocks of bf16 scales": Form(
        {"quant_method": "fp8", "weight_block_size": [64, 96]}, (64, 96), "_scale_inv", scales="BF16"
    ),
    "blocks of powers of two": Form(
        {"quant_method": "fp8", "weight_block_size": [128, 128]}, (128, 128), "_scale_inv", scales="F8_E8M0"
    ),
    "blocks that config.json does not state": Form({"quant_method": "fp8"}, (32, 32), "_scale_inv"),
    "one scale": Form({"quant_method": "fp8", "activation_scheme": "static"}, (0, 0), flat=True),
    "one scale of E5M2": Form({"quant_method": "fp8"}, (0, 0), scales="F16", flat=True, dtype="F8_E5M2"),
    "a scale for each row": Form(groups(strategy="channel"), (1, 0), scales="BF16"),
    "a flat scale for each row": Form({"quant_method": "fbgemm_fp8"}, (1, 0), flat=True),
    "compressed-tensors' blocks": Form(groups(strategy="block", block_structure=[128, 128]), (128, 128), scales="BF16"),
}


def quantised(values: np.ndarray, form: Form) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bytes and scales of a matrix, and the float32 matrix that they mean."""
    rows, columns = (n or whole for n, whole in zip(form.block, values.shape, strict=True))
    shape = (math.ceil(values.shape[0] / rows), math.ceil(values.shape[1] / columns))
    scales = np.random.default_rng(5).uniform(1e-3, 4e-3, shape).astype(np.float32)
    scales = scales.astype(SCALES[form.scales])
    each = np.kron(scales.astype(np.float32), np.ones((rows, columns), np.float32))
    each = each[: values.shape[0], : values.shape[1]]
    packed = (values / each).astype(DTYPES[form.dtype])
    return packed, scales, packed.astype(np.float32) * each


def write_pair(directory: Path, form: Form, *, shards: int = 1) -> tuple[Path, Path]:
    """An FP8 checkpoint, and the float32 checkpoint that it means, under one name."""
    fp8 = write_checkpoint(directory / "fp8" / "model", SHAPE)
    whole = write_checkpoint(directory / "whole" / "model", SHAPE)
    change_config(fp8, quantization_config=form.config)
    packed: Tensors = {}
    meant: Tensors = {}
    for name, (dtype, bits) in random_tensors(read_config(Source.local(whole)), "BF16", 0).items():
        if "proj" not in name:
            packed[name] = meant[name] = (dtype, bits)
            continue
        values, scales, product = quantised((bits.astype(np.uint32) << 16).view(np.float32), form)
        packed[name] = (form.dtype, values.view(np.uint8))
        packed[name + form.ending] = (form.scales, scales.reshape(-1) if form.flat else scales)
        packed[name.replace(".weight", ".input_scale")] = ("F32", np.float32(2.0))
        meant[name] = ("F32", product)
    for path in (fp8, whole):
        (path / SHARD).unlink()
    write_shards(fp8, packed, shards)
    write_safetensors(whole / SHARD, meant)
    return fp8, whole


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_byte_has_the_value_that_ml_dtypes_gives_it(dtype: str) -> None:
    expected = np.arange(256, dtype=np.uint8).view(DTYPES[dtype]).astype(np.float32)
    assert np.array_equal(table(dtype), expected, equal_nan=True)
    assert np.array_equal(np.signbit(table(dtype)), np.signbit(expected))


def test_powers_of_two_have_the_values_that_ml_dtypes_gives_them(tmp_path: Path) -> None:
    expected = np.arange(256, dtype=np.uint8).view(ml_dtypes.float8_e8m0fnu).astype(np.float32)
    fp8 = with_scale(tmp_path, "F8_E8M0", np.arange(256, dtype=np.uint8).reshape(256, 1))
    stored = Checkpoint.open(Source.local(fp8)).tensors[Q]
    with pytest.raises(WeightError, match="holds nan"):
        read_scales(stored, LocalShards(fp8))
    fp8 = with_scale(tmp_path, "F8_E8M0", np.arange(255, -1, -1, dtype=np.uint8).clip(max=254).reshape(256, 1))
    scales = read_scales(Checkpoint.open(Source.local(fp8)).tensors[Q], LocalShards(fp8))
    assert scales is not None
    assert np.array_equal(scales[:, 0], np.concatenate([[expected[254]], expected[254::-1]]))


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_file_is_that_of_the_weights_times_their_scales(form: Form, tmp_path: Path) -> None:
    fp8, whole = write_pair(tmp_path, form)
    for type_ in ("F32", "Q4_K_M"):
        (ours,) = convert(fp8, tmp_path / "ours.gguf", choose(type_))
        (same,) = convert(whole, tmp_path / "same.gguf", choose(type_))
        assert ours.read_bytes() == same.read_bytes(), type_
        assert verify(ours, fp8).passed
        for path in (ours, same):
            path.unlink()


def test_scales_may_lie_in_another_shard_and_an_interruption_goes_on(tmp_path: Path) -> None:
    fp8, whole = write_pair(tmp_path, FORMS["a scale for each row"], shards=3)
    out = tmp_path / "out.gguf"
    with pytest.raises(KeyboardInterrupt):
        write_recording(fp8, out, choose(), Stops(KeyboardInterrupt(), 9))
    counts = Counts()
    convert(fp8, out, choose(), counts)
    assert counts.found
    (same,) = convert(whole, tmp_path / "same.gguf", choose())
    assert out.read_bytes() == same.read_bytes()


Q = "model.layers.1.self_attn.q_proj.weight"


def with_scale(directory: Path, *scale: object, form: Form = FORMS["blocks"]) -> Path:
    """The checkpoint with another scale of one matrix, or with none."""
    fp8, _ = write_pair(directory, form)
    tensors: Tensors = {}
    for name, (dtype, bits) in random_tensors(read_config(Source.local(fp8)), "BF16", 0).items():
        tensors[name] = ("F8_E4M3", np.ones(bits.shape, np.uint8)) if name == Q else (dtype, bits)
    if scale:
        tensors[Q + form.ending] = scale  # type: ignore[assignment]
    write_safetensors(fp8 / SHARD, tensors)
    return fp8


def test_a_scale_that_is_missing_is_told(tmp_path: Path) -> None:
    says(refusal(with_scale(tmp_path), kind=ShardError), Q, "F8_E4M3 and has no scale")


@pytest.mark.parametrize("shape", [(3, 2), (2,), (2, 2, 1), (256, 2)], ids=str)
def test_a_scale_of_another_shape_is_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    line = refusal(with_scale(tmp_path, "F32", np.ones(shape, np.float32)), kind=ShardError)
    says(line, f"{Q}_scale_inv", f"has shape {list(shape)}, which does not fit [256, 256]")


@pytest.mark.parametrize(
    ("shape", "scales"), [((), ()), ((0,), (1,)), ((0, 0), (0, 0)), ((0, 256), (2, 2)), ((256, 0), (256, 1))], ids=str
)
def test_a_weight_without_rows_or_columns_is_refused(
    shape: tuple[int, ...], scales: tuple[int, ...], tmp_path: Path
) -> None:
    fp8 = write_checkpoint(tmp_path / "model", SHAPE)
    packed = ("F8_E4M3", np.ones(shape, np.uint8))
    write_safetensors(fp8 / SHARD, {Q: packed, f"{Q}_scale": ("F32", np.ones(scales, np.float32))})
    says(refusal(fp8, kind=ShardError), Q, f"has shape {list(scales)}, which does not fit {list(shape)}")


def test_a_matrix_whose_scales_are_none_is_refused(tmp_path: Path) -> None:
    fp8 = with_scale(tmp_path, "F32", np.ones((0, 2), np.float32), form=FORMS["blocks that config.json does not state"])
    says(refusal(fp8, kind=ShardError), f"{Q}_scale_inv", "has shape [0, 2], which does not fit [256, 256]")


def test_a_scale_of_another_type_is_refused(tmp_path: Path) -> None:
    line = refusal(with_scale(tmp_path, "U8", np.ones((2, 2), np.uint8)), kind=ShardError)
    says(line, f"{Q}_scale_inv' is U8", "scales are bf16, f16, f32")


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0, 0.0], ids=str)
def test_a_scale_that_is_no_positive_number_is_named(value: float, tmp_path: Path) -> None:
    scales = stored(np.array([[1, 1], [1, value]], np.float32), "F32")
    says(refusal(with_scale(tmp_path, "F32", scales), kind=WeightError), f"{Q}_scale_inv holds {value}")


def test_two_scales_of_one_weight_are_refused(tmp_path: Path) -> None:
    fp8 = with_scale(tmp_path, "F32", np.ones((2, 2), np.float32))
    found = Checkpoint.open(Source.local(fp8)).tensors
    tensors: Tensors = {name: (each.dtype, np.array(map_tensor(each))) for name, each in found.items() if name != Q}
    both: Tensors = {f"{Q}{end}": ("F32", np.ones((2, 2), np.float32)) for end in ("_scale", "_scale_inv")}
    write_safetensors(fp8 / SHARD, {**tensors, Q: ("F8_E4M3", np.ones((256, 256), np.uint8)), **both})
    says(refusal(fp8, kind=ShardError), f"{Q!r} has weight_scale_inv and weight_scale")


@pytest.mark.parametrize("block", [[0, 128], [128], [128, 128, 1], [1.5, 128], "128", {"rows": 128}, True], ids=str)
def test_a_block_that_is_none_is_refused(block: object, tmp_path: Path) -> None:
    fp8 = with_scale(tmp_path, "F32", np.ones((2, 2), np.float32))
    change_config(fp8, quantization_config={"quant_method": "fp8", "weight_block_size": block})
    says(
        refusal(fp8, kind=ConfigError), str(fp8 / "config.json"), "weight_block_size of quantization_config is", "rows"
    )


def test_a_block_as_text_is_read(tmp_path: Path) -> None:
    fp8 = with_scale(tmp_path, "F32", np.ones((2, 2), np.float32))
    change_config(fp8, quantization_config=groups(strategy="block", block_structure="128x128"))
    scale = Checkpoint.open(Source.local(fp8)).tensors[Q].scale
    assert scale is not None
    assert scale.block == (128, 128)


@pytest.mark.parametrize(("byte", "scale", "found"), [(0x7F, 1.0, "nan"), (0x7E, 3e38, "inf")], ids=["NaN", "overflow"])
def test_a_weight_that_is_no_number_is_named(byte: int, scale: float, found: str, tmp_path: Path) -> None:
    fp8 = with_scale(tmp_path, "F32", np.full((2, 2), scale, np.float32))
    path = fp8 / SHARD
    data = path.read_bytes()
    ones = data.index(b"\1" * 65536)
    path.write_bytes(data[: ones + 261] + bytes([byte]) + data[ones + 262 :])
    says(refusal(fp8, kind=WeightError), f"{Q}[1, 5] is {found}")


def test_the_plan_tells_the_stored_type(tmp_path: Path) -> None:
    fp8, _ = write_pair(tmp_path, FORMS["blocks"])
    says(command_line("convert", fp8, "--dry-run").stdout, "F8_E4M3")


@pytest.mark.parametrize("block", [(128, 128), (96, 64), (1, 0), (0, 0)], ids=str)
def test_parts_of_a_fused_matrix_keep_their_scales(block: tuple[int, int], tmp_path: Path) -> None:
    """ChatGLM's form has q, k and v in one matrix, whose blocks may end anywhere."""
    hf_form = write_checkpoint(tmp_path / "hf" / "model", hf_shape(SHAPE))
    fp8, whole = (write_chatglm_form(tmp_path / name / "model", hf_form) for name in ("fp8", "whole"))
    stated = list(block) if all(block) else None
    change_config(fp8, quantization_config={"quant_method": "fp8", "weight_block_size": stated})
    name = "transformer.encoder.layers.1.self_attention.query_key_value.weight"
    tensors = {
        found: (each.dtype, np.array(map_tensor(each)))
        for found, each in Checkpoint.open(Source.local(whole)).tensors.items()
    }
    values = (tensors[name][1].astype(np.uint32) << 16).view(np.float32)
    packed, scales, product = quantised(values, Form({}, block))
    made: Tensors = {name: ("F8_E4M3", packed.view(np.uint8)), f"{name}_scale_inv": ("F32", scales)}
    write_safetensors(fp8 / SHARD, {**tensors, **made})
    write_safetensors(whole / SHARD, {**tensors, name: ("F32", product)})
    (ours,) = convert(fp8, tmp_path / "ours.gguf", choose("F32"))
    (same,) = convert(whole, tmp_path / "same.gguf", choose("F32"))
    assert ours.read_bytes() == same.read_bytes()
    assert verify(ours, fp8).passed


def test_an_adapter_is_added_to_the_scaled_weights(tmp_path: Path) -> None:
    fp8, whole = write_pair(tmp_path, FORMS["blocks"])
    adapter = write_adapter(tmp_path / "adapter", factors(shape=(256, 256)), base="model")
    options = ConvertOptions(TypeChoices("F32"), adapters=(MergedAdapter(adapter),))
    (ours,) = convert(fp8, tmp_path / "ours.gguf", options)
    (same,) = convert(whole, tmp_path / "same.gguf", options)
    (plain,) = convert(fp8, tmp_path / "plain.gguf", choose("F32"))
    assert ours.read_bytes() == same.read_bytes()
    assert ours.read_bytes() != plain.read_bytes()
    assert verify(ours, fp8, adapters=options.adapters).passed
