"""Compare fitted files of GLM-4-9B's shapes with llama.cpp's Q4_K_M: size, divergence, and processor time a token.

Made layers of random weights in 9B's widths, and as much vocabulary as goes with so few layers: two of 40 by default.
One file is fitted to 95 % of Q4_K_M's bytes, one so for the CPU. One thread decodes the files in turn, and its own time
counts.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from math import prod
from pathlib import Path

import llama_cpp.llama_cpp as api
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from checkpoints import Shape, stored, write_tensors_one_by_one, write_tokenizer  # noqa: E402
from logits import GGML_TYPE_F16, context_of, decoded, logits_of  # noqa: E402

from glm_gguf.convert import convert  # noqa: E402
from glm_gguf.convert.source.config import read_config  # noqa: E402
from glm_gguf.convert.source.source import Source  # noqa: E402
from glm_gguf.convert.source.tensor_names import stored_shapes  # noqa: E402

VOCABULARY, LAYERS = 151552, 40  # of GLM-4-9B
SHARE = 0.95


def write_model(directory: Path, layers: int) -> Path:
    """Write the checkpoint, a million weights at a time."""
    vocabulary = -(-VOCABULARY * layers // LAYERS // 64) * 64
    shape = Shape(4096, 13696, layers, 32, 2, 128, vocabulary, bias=True)
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(shape.config()))
    write_tokenizer(directory)
    dice = np.random.default_rng(0)
    shapes = stored_shapes(read_config(Source.local(directory)))

    def pieces(name: str) -> Iterator[bytes]:
        left = prod(shapes[name])
        while left:
            values = dice.standard_normal(min(left, 2**20), np.float32) * np.float32(1 / 64) + ("norm" in name)
            left -= len(values)
            yield stored(values, "BF16").tobytes()

    write_tensors_one_by_one(directory / "model.safetensors", shapes, pieces)
    return directory


def log_probabilities(path: Path) -> np.ndarray:
    """Compute those of 128 random tokens."""
    ids = np.random.default_rng(1).integers(0, 250, 128)
    with context_of(path, GGML_TYPE_F16) as context:
        logits = logits_of(context, ids, 128).astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def decode_times(paths: list[Path], rounds: int) -> list[float]:
    """Measure milliseconds of the processor for a token of each file, the least of several rounds in turn."""
    with ExitStack() as stack:
        contexts = [stack.enter_context(context_of(path, GGML_TYPE_F16)) for path in paths]
        batch, least = api.llama_batch_init(1, 0, 1), [float("inf")] * len(paths)
        for number in range(rounds):
            for place, context in enumerate(contexts):
                begun = time.thread_time()
                decoded(context, batch, np.array([number]), number)
                least[place] = min(least[place], 1000 * (time.thread_time() - begun))
        api.llama_batch_free(batch)
    return least


def main() -> None:
    """Make the files and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        model = write_model(directory / "model", options.layers)
        original, stock = convert(model, directory, type="BF16", also=["Q4_K_M"])
        budget = int(SHARE * stock.stat().st_size)
        paths = [stock]
        for target in ("any", "cpu"):
            paths += convert(model, directory / f"{target}.gguf", fit=budget, target=target)
            print((directory / f"{target}.recipe").read_text(), flush=True)
        known = log_probabilities(original)
        divergences = [(np.exp(known) * (known - log_probabilities(path))).sum(axis=1).mean() for path in paths]
        times = decode_times(paths, options.rounds)
        for name, path, divergence, used in zip(("Q4_K_M", "any", "cpu"), paths, divergences, times, strict=True):
            size = path.stat().st_size
            share = f"{size / stock.stat().st_size:.3f} of its bytes, {used / times[0]:.3f} of its time"
            print(f"{name:7} {size:13,} bytes, KL divergence {divergence:.6f}, {used:7.2f} ms a token; {share}")


if __name__ == "__main__":
    main()
