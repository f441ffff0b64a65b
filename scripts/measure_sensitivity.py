"""Measure what an error of each kind of matrix is worth: one matrix is quantised, and the answers' divergence measured.

    scripts/measure_sensitivity.py glm_gguf/demo/checkpoint made:4

A model is the checkpoint of a tiny model, or made:N for N made layers of random weights. Prints nats a token for a
squared relative error of 1 in all matrices of a kind, and the geometric mean of the models, which recipe/sensitivity
holds.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from math import exp, log
from pathlib import Path
from typing import Any, cast

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts"), str(ROOT / "tests")]

from checkpoints import Shape, write_checkpoint  # noqa: E402
from tiny.drawn_texts import drawn_text  # noqa: E402

from glm_gguf.convert import ConvertOptions, TypeChoices, convert, make_plan  # noqa: E402
from glm_gguf.convert.recipe.mixes import category  # noqa: E402
from glm_gguf.convert.verify import verify  # noqa: E402
from glm_gguf.llama.engine_options import EngineOptions  # noqa: E402
from glm_gguf.quality.chunks import ChunkOptions  # noqa: E402
from glm_gguf.quality.evaluation import evaluate_against, write_reference  # noqa: E402
from glm_gguf.quality.text_data import TextData  # noqa: E402

DEMO = ROOT / "glm_gguf" / "demo" / "checkpoint"
ENDS = ("token_embd.weight", "output.weight")


def checkpoint(model: str, directory: Path) -> Path:
    """Return the checkpoint of a model; made layers take the demo's tokenizer."""
    kind, _, number = model.partition(":")
    if kind != "made":
        return Path(model)
    shape = Shape(hidden=256, ffn=768, layers=int(number), vocab=1536, bias=True)
    path = write_checkpoint(directory / f"made-{number}", shape, scale=0.0625)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(DEMO / name, path / name)
    return path


def with_one(name: str, type_: str) -> TypeChoices:
    """Return the choice that quantises one matrix, and leaves BF16 to the others."""
    fields: dict[str, Any] = {"output_tensor": "BF16", "token_embedding": "BF16"}
    patterns = [(".*", "BF16")]
    if name in ENDS:
        fields["token_embedding" if name == ENDS[0] else "output_tensor"] = type_
    else:
        patterns.insert(0, (f"^{re.escape(name)}$", type_))
    return TypeChoices(type="Q8_0", tensor_types=tuple(patterns), pad_ffn="on", **fields)


def measure(model: Path, type_: str, chunks: int, directory: Path) -> Mapping[str, float]:
    """Return the worth of each kind, summed over its matrices; prints that of each matrix."""
    engine = EngineOptions(n_ctx=512, threads=1)
    reference, one = directory / "reference", directory / "one.gguf"
    (original,) = convert(model, directory / "original.gguf", type="BF16", force=True)
    data = cast(TextData, drawn_text("sensitivity", model))
    write_reference(original, data, ChunkOptions(most=chunks), engine, reference)
    found: dict[str, float] = defaultdict(float)
    for tensor in make_plan(model, ConvertOptions()).tensors:
        if len(tensor.shape) < 2:
            continue
        convert(model, one, ConvertOptions(with_one(tensor.name, type_), force=True))
        error = next(each.relative for each in verify(one, model).tensors if each.name == tensor.name) ** 2
        divergence = evaluate_against(one, reference, engine).divergence
        assert divergence is not None
        worth = divergence.kld.value / error
        print(f"  {tensor.name:28} {worth:8.4f}", flush=True)
        found[category(tensor.name).name] += worth
    return found


def main() -> None:
    """Measure every model, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--type", default="Q3_K", help="type of the one matrix")
    parser.add_argument("--chunks", type=int, default=12, help="chunks of 512 tokens")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        models = [checkpoint(model, Path(temporary)) for model in options.models]
        found = [measure(model, options.type, options.chunks, Path(temporary)) for model in models]
    for kind in found[0]:
        worths = [each[kind] for each in found]
        mean = exp(sum(map(log, worths)) / len(worths))
        print(f"{kind:12} {mean:7.3f}   " + " ".join(f"{worth:7.3f}" for worth in worths))


if __name__ == "__main__":
    main()
