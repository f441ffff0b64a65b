"""`inspect` tells a LoRA adapter from a model, and finds what llama.cpp's loader would refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFWriter

from glm_gguf.errors import GgufError
from glm_gguf.gguf_file.adapter import require_adapter
from glm_gguf.gguf_file.crash_findings import require_loadable
from glm_gguf.gguf_file.diagnosis import diagnose
from glm_gguf.gguf_file.parts import open_all_parts

NAME = "blk.0.attn_q.weight"
PAIR = {f"{NAME}.lora_a": (4, 64), f"{NAME}.lora_b": (32, 4)}


def written(
    path: Path, tensors: dict[str, tuple[int, int]], *, arch: str = "glm4", kind: str = "lora", alpha: float = 8.0
) -> Path:
    writer = GGUFWriter(path, arch)
    writer.add_type("adapter")
    writer.add_string("adapter.type", kind)
    writer.add_float32("adapter.lora.alpha", alpha)
    for name, shape in tensors.items():
        writer.add_tensor(name, np.ones(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def told(path: Path) -> list[str]:
    return [finding.what for finding in diagnose(open_all_parts(path))]


@pytest.mark.parametrize("arch", ["glm4", "chatglm"])
def test_a_good_adapter_has_no_findings(arch: str, tmp_path: Path) -> None:
    embedding = {"token_embd.weight.lora_a": (300, 4), "token_embd.weight.lora_b": (64, 4)}
    assert told(written(tmp_path / "a.gguf", {**PAIR, **embedding}, arch=arch)) == []


def test_what_the_loader_refuses_is_told(tmp_path: Path) -> None:
    alone = written(tmp_path / "alone.gguf", {f"{NAME}.lora_a": (4, 64)})
    assert told(alone) == [f"tensor '{NAME}.lora_a' stands alone"]
    ranks = written(tmp_path / "ranks.gguf", {f"{NAME}.lora_a": (4, 64), f"{NAME}.lora_b": (32, 8)})
    assert told(ranks) == [f"the factors of {NAME!r} have ranks 4 and 8"]
    other = written(tmp_path / "other.gguf", {**PAIR, NAME: (4, 4)})
    assert told(other) == [f"tensor {NAME!r} is no factor of LoRA"]
    foreign = written(tmp_path / "foreign.gguf", PAIR, arch="llama", kind="loha", alpha=0.0)
    assert told(foreign) == [
        "its architecture is 'llama'",
        "adapter.type is 'loha'",
        "adapter.lora.alpha is missing or 0",
    ]


@pytest.mark.parametrize("alpha", [float("inf"), float("-inf"), float("nan")], ids=str)
def test_an_alpha_that_is_no_number_is_told_and_refused(alpha: float, tmp_path: Path) -> None:
    path = written(tmp_path / "a.gguf", PAIR, alpha=alpha)
    assert told(path) == [f"adapter.lora.alpha is {alpha:g}"]
    with pytest.raises(GgufError, match=f"adapter.lora.alpha is {alpha:g}: all that the adapter changes becomes NaN"):
        require_adapter(path)


def test_an_alpha_of_another_type_is_refused_before_llama_cpp_aborts(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    writer = GGUFWriter(path, "glm4")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_uint32("adapter.lora.alpha", 8)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    assert told(path) == ["adapter.lora.alpha is of type u32, not f32"]
    with pytest.raises(GgufError, match="is of type u32, not f32"):
        require_adapter(path)


def test_an_adapter_is_not_loaded_as_a_model(tmp_path: Path) -> None:
    with pytest.raises(GgufError, match="a LoRA adapter, not a model; name its base, and give this file by --lora"):
        require_loadable(open_all_parts(written(tmp_path / "a.gguf", PAIR)))
