"""`inspect` tells a LoRA adapter from a model, and finds what llama.cpp's loader would refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFWriter

from glm_gguf.errors import GgufError
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


def test_an_adapter_is_not_loaded_as_a_model(tmp_path: Path) -> None:
    with pytest.raises(GgufError, match="a LoRA adapter, not a model; name its base, and give this file by --lora"):
        require_loadable(open_all_parts(written(tmp_path / "a.gguf", PAIR)))
