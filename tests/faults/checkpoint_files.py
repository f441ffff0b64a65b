"""Target: the files beside a checkpoint's weights, as a hub sends them, up to the head of the GGUF."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from glm_gguf.convert.options import ConvertOptions, TypeChoices
from glm_gguf.convert.plan import Plan
from glm_gguf.convert.planned_head import planned_heads
from glm_gguf.convert.planning import make_plan
from tests.checkpoints import Shape, write_checkpoint
from tests.faults.readers import MARK, scratch

NAMES: Final = (
    *("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"),
    *("model.safetensors.index.json", "README.md"),
)
SHAPE: Final = Shape(hidden=64, ffn=64, layers=1, heads=2, kv_heads=1, head_dim=32)
OPTIONS: Final = ConvertOptions(types=TypeChoices(type="Q8_0"), threads=1)


def checkpoint(data: bytes) -> None:
    """The files of NAMES behind one another; an empty one is not there. The weights are always the same."""
    directory = weights()
    for name, text in zip(NAMES, [*data.split(MARK), *[b""] * len(NAMES)], strict=False):
        path = directory / name
        path.unlink(missing_ok=True)
        if text:
            path.write_bytes(text)
    plan: Plan = make_plan(directory, OPTIONS)
    (head,) = planned_heads([plan])
    assert head.file_size >= plan.n_bytes


@cache
def weights() -> Path:
    """Return a directory with the weights of a checkpoint, written once in a process."""
    directory = scratch() / "checkpoint"
    write_checkpoint(directory, SHAPE)
    return directory
