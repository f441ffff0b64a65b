"""Checkpoints as people have them: quantised already, beside adapters, saved by PyTorch, nested, in several copies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import random_tensors, write_checkpoint, write_safetensors
from damage import INDEX, SHARD, SMALL, change_config, choose, copied, refusal, says

from glm_gguf.convert import convert
from glm_gguf.convert.source.config import read_config
from glm_gguf.convert.source.source import Source
from glm_gguf.errors import SourceError

DOWN = "model.layers.0.mlp.down_proj"
Tensors = dict[str, tuple[str, Any]]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("good") / "model", SMALL)


@pytest.fixture
def source(good: Path, tmp_path: Path) -> Path:
    """A good checkpoint, for the test to damage."""
    return copied(good, tmp_path / "model")


def replace_down(source: Path, weight: Tensors) -> None:
    """Replace one projection by other tensors."""
    tensors = random_tensors(read_config(Source.local(source)), "BF16", 0)
    del tensors[f"{DOWN}.weight"]
    write_safetensors(source / SHARD, {**tensors, **weight})


def some(dtype: str, kind: Any, *shape: int) -> tuple[str, Any]:
    return dtype, np.ones(shape, kind)


GPTQ = {
    f"{DOWN}.qweight": some("I32", np.int32, 12, 64),
    f"{DOWN}.qzeros": some("I32", np.int32, 1, 8),
    f"{DOWN}.scales": some("F16", np.float16, 1, 64),
}
QUANTISED: dict[str, tuple[dict[str, Any] | None, Tensors, str]] = {
    "bitsandbytes": (
        {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
        {
            f"{DOWN}.weight": some("U8", np.uint8, 3072, 1),
            f"{DOWN}.weight.absmax": some("F32", np.float32, 96),
            f"{DOWN}.weight.quant_map": some("F32", np.float32, 16),
            f"{DOWN}.weight.quant_state.bitsandbytes__nf4": some("U8", np.uint8, 80),
        },
        "bitsandbytes (config.json, quantization_config)",
    ),
    "bitsandbytes of 8 bits": (
        {"quant_method": "bitsandbytes", "load_in_8bit": True},
        {f"{DOWN}.weight": some("I8", np.int8, 64, 96), f"{DOWN}.SCB": some("F32", np.float32, 64)},
        "bitsandbytes (config.json, quantization_config)",
    ),
    "GPTQ": (
        {"quant_method": "gptq", "bits": 4},
        {**GPTQ, f"{DOWN}.g_idx": some("I32", np.int32, 96)},
        "GPTQ (config.json, quantization_config)",
    ),
    "AWQ": ({"quant_method": "awq", "bits": 4}, GPTQ, "AWQ (config.json, quantization_config)"),
    "compressed-tensors of 4 bits": (
        {"quant_method": "compressed-tensors", "format": "pack-quantized"},
        {
            f"{DOWN}.weight_packed": some("I32", np.int32, 64, 12),
            f"{DOWN}.weight_scale": some("BF16", np.uint16, 64, 1),
        },
        "compressed-tensors (config.json, quantization_config)",
    ),
    "compressed-tensors of 8 bits": (
        {"quant_method": "compressed-tensors", "format": "int-quantized"},
        {f"{DOWN}.weight": some("I8", np.int8, 64, 96), f"{DOWN}.weight_scale": some("BF16", np.uint16, 64, 1)},
        "compressed-tensors (config.json, quantization_config)",
    ),
    "FP8 of AMD's GPUs": (None, {f"{DOWN}.weight": some("F8_E4M3FNUZ", np.uint8, 64, 96)}, "FP8 of AMD's GPUs"),
    "MXFP4": (
        {"quant_method": "mxfp4"},
        {f"{DOWN}_blocks": some("U8", np.uint8, 64, 48), f"{DOWN}_scales": some("U8", np.uint8, 64, 3)},
        "MXFP4 (config.json, quantization_config)",
    ),
    "EXL2": ({"quant_method": "exl2"}, {f"{DOWN}.q_weight": some("I32", np.int32, 8, 8)}, "exl2 (config.json"),
    "EXL3": (None, {f"{DOWN}.trellis": some("I16", np.int16, 4, 4)}, "with EXL3"),
    "HQQ": ({"quant_method": "hqq"}, {f"{DOWN}.W_q": some("U8", np.uint8, 64, 48)}, "hqq (config.json"),
    "AQLM": (None, {f"{DOWN}.codes": some("I16", np.int16, 4, 4)}, "with AQLM"),
    "quanto": (None, {f"{DOWN}.weight._data": some("I8", np.int8, 64, 96)}, "with quanto or torchao"),
    "a quantiser that nobody knows": (
        {"quant_method": "zip3"},
        {f"{DOWN}.zipped": some("I16", np.int16, 4, 4)},
        "zip3 (config.json",
    ),
    "FP4 in half bytes": (None, {f"{DOWN}.weight": some("F4", np.uint8, 64, 48)}, "quantised already"),
    "MLX": (
        {"group_size": 64, "bits": 4},
        {
            f"{DOWN}.weight": some("U32", np.uint32, 64, 12),
            f"{DOWN}.scales": some("BF16", np.uint16, 64, 2),
            f"{DOWN}.biases": some("BF16", np.uint16, 64, 2),
        },
        "MLX (config.json, quantization_config)",
    ),
}


@pytest.mark.parametrize(("stated", "weight", "who"), QUANTISED.values(), ids=QUANTISED)
def test_a_checkpoint_that_is_quantised_already_is_refused_by_name(
    stated: dict[str, Any] | None, weight: Tensors, who: str, source: Path
) -> None:
    if "F4" in {dtype for dtype, _ in weight.values()}:
        replace_down(source, {})
        add_packed(source / SHARD, weight)
    else:
        replace_down(source, weight)
    if stated is not None:
        change_config(source, quantization_config=stated)
    line = refusal(source, kind=SourceError)
    says(line, str(source), who, "convert the original with 16-bit weights")
    assert ("dequantize()" in line) == ("bitsandbytes" in who)
    assert "adapters" not in line


def add_packed(path: Path, weight: Tensors) -> None:
    """Two values a byte; the shape counts values."""
    write_safetensors(path, weight)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"[64, 48]", b"[64, 96]"))


def test_what_config_says_decides_nothing_where_the_weights_are_whole(good: Path, source: Path, tmp_path: Path) -> None:
    change_config(source, quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True})
    convert(good, tmp_path / "plain.gguf", choose())
    convert(source, tmp_path / "out.gguf", choose())
    assert (tmp_path / "out.gguf").read_bytes() == (tmp_path / "plain.gguf").read_bytes()


BESIDE = ("adapter_model.safetensors", "consolidated.safetensors", "optimizer.safetensors", "training.safetensors")


@pytest.mark.parametrize("name", BESIDE)
def test_other_safetensors_beside_the_model_are_left_alone(name: str, good: Path, source: Path, tmp_path: Path) -> None:
    write_safetensors(source / name, {"base_model.model.lora_A.weight": some("F32", np.float32, 4, 64)})
    convert(good, tmp_path / "plain.gguf", choose())
    convert(source, tmp_path / "out.gguf", choose())
    assert (tmp_path / "out.gguf").read_bytes() == (tmp_path / "plain.gguf").read_bytes()


def test_an_index_whose_shards_are_gone_gives_way_to_the_model_in_one_file(source: Path) -> None:
    shard = "model-00001-of-00002.safetensors"
    (source / INDEX).write_text(json.dumps({"weight_map": {f"{DOWN}.weight": shard}}))
    convert(source, source.parent / "out.gguf", choose())


def test_weights_of_another_name_are_read_where_no_model_lies_beside_them(source: Path) -> None:
    (source / SHARD).rename(source / "glm.safetensors")
    write_safetensors(source / "adapters.safetensors", {"lora_a": some("F32", np.float32, 4, 64)})
    convert(source, source.parent / "out.gguf", choose())


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "model.pth", "last.ckpt"])
def test_weights_that_pytorch_saved_are_told(name: str, source: Path) -> None:
    (source / SHARD).rename(source / name)
    says(refusal(source, kind=SourceError), "holds no *.safetensors file", name, "save_pretrained")


def test_weights_in_a_subdirectory_are_told(source: Path) -> None:
    (source / "weights").mkdir()
    (source / SHARD).rename(source / "weights" / SHARD)
    says(refusal(source, kind=SourceError), "holds no *.safetensors file", str(source / "weights"))


def test_an_adapter_is_no_checkpoint(source: Path) -> None:
    (source / "config.json").unlink()
    (source / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    (source / SHARD).rename(source / "adapter_model.safetensors")
    says(refusal(source, kind=SourceError), "PEFT adapter", "--base BASE", "--adapter", "merge")


def test_a_config_that_nests_the_text_model_is_read(good: Path, source: Path, tmp_path: Path) -> None:
    raw = json.loads((source / "config.json").read_text())
    kept = {key: raw.pop(key) for key in ("architectures", "vocab_size")}
    (source / "config.json").write_text(json.dumps({**kept, "text_config": {"model_type": "glm4", **raw}}))
    convert(good, tmp_path / "plain.gguf", choose())
    convert(source, tmp_path / "out.gguf", choose())
    assert (tmp_path / "out.gguf").read_bytes() == (tmp_path / "plain.gguf").read_bytes()
