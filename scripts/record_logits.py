"""Record what transformers computes from random tiny checkpoints, for tests/convert/test_logits.py to compare with.

Needs torch and transformers 5 beside numpy, gguf and this checkout:

    PYTHONPATH=. python scripts/record_logits.py [case …]

The goldens name the shape, seed and scale that tests/checkpoints.py makes the checkpoint from again,
and its checksum. A prompt is drawn anew until its best two logits are apart everywhere, so that
"the same best token" can be asked for without exceptions.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests"))

from checkpoints import Shape, write_checkpoint  # noqa: E402
from checkpoints_2024 import CHAT, CHAT_1M, EDGE_FIELDS, hf_shape  # noqa: E402

from glm_gguf.convert.source.checkpoint import Checkpoint  # noqa: E402
from glm_gguf.convert.source.config import read_config  # noqa: E402
from glm_gguf.convert.source.source import Source  # noqa: E402
from glm_gguf.convert.source.tensor_names import stored_shapes  # noqa: E402

GOLDEN = REPOSITORY / "tests" / "golden" / "logits"
SCALE = 0.1  # of the weights: attention is far from even, and float32 keeps six digits
LENGTHS = (1, 2, 5, 16, 33, 64, 128, 300, 600)
KEPT = 12  # positions of a prompt whose logits are recorded in full
APART = 2e-4  # least gap between the best two logits, as a part of the prompt's largest
DRAWS = 2_000

YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 160}
RESAVED = {"rope_type": "default", "rope_theta": 500000.0, "partial_rotary_factor": 0.25}
CASES = {
    "plain": Shape(),
    "bias": Shape(ffn=416, heads=8, kv_heads=2, head_dim=32, bias=True),
    "tied": Shape(tied=True),
    "wide-heads": Shape(hidden=128, heads=4, kv_heads=2, head_dim=64),
    "eight-kv-heads": Shape(heads=16, kv_heads=8, head_dim=32),
    "yarn": Shape(extra={"max_position_embeddings": 640, "rope_scaling": YARN}),
    "yarn-attention": Shape(
        bias=True, extra={"max_position_embeddings": 640, "rope_scaling": {**YARN, "attention_factor": 1.25}}
    ),
    "linear": Shape(extra={"rope_scaling": {"rope_type": "linear", "factor": 4.0}}),
    "resaved": Shape(extra={"rope_theta": None, "partial_rotary_factor": None, "rope_parameters": RESAVED}),
    "glm": hf_shape(Shape(ffn=416, heads=8, kv_heads=2, head_dim=32, bias=True), CHAT),
    "glm-1m": hf_shape(Shape(heads=8, kv_heads=4, head_dim=32, bias=True), CHAT_1M),
    "glm-edge": Shape(tied=True, extra=EDGE_FIELDS),
    "glm-yarn": hf_shape(Shape(), CHAT, max_position_embeddings=640, rope_scaling=YARN),
}


@dataclass(frozen=True)
class Recorded:
    """One prompt with its logits, (tokens, vocabulary)."""

    ids: np.ndarray
    logits: np.ndarray

    @property
    def positions(self) -> np.ndarray:
        """Positions spread over the prompt, first and last included."""
        return np.unique(np.linspace(0, len(self.ids) - 1, KEPT).round().astype(np.int16))

    @property
    def gap(self) -> float:
        """The least distance of the best two logits, as a part of the largest."""
        best = np.sort(self.logits, axis=1)[:, -2:]
        return float((best[:, 1] - best[:, 0]).min() / np.abs(self.logits).max())


def main() -> None:
    """Record the cases named on the command line, or all."""
    torch.set_num_threads(2)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for number, (name, shape) in enumerate(CASES.items(), 1):
        if name in sys.argv[1:] or not sys.argv[1:]:
            with tempfile.TemporaryDirectory() as directory:
                record(name, shape, number, Path(directory))


def record(name: str, shape: Shape, seed: int, directory: Path) -> None:
    """Write one golden, and print how exact and how far from a tie it is."""
    source = write_checkpoint(directory / "model", shape, seed=seed, scale=SCALE)
    model = loaded(source)
    check_saved(model, source, directory / "saved")
    prompts = [draw(model, length, shape.vocab, seed) for length in LENGTHS]
    save(name, about(shape, seed, source), prompts)
    exact = loaded(source, torch.float64)
    loss = max(difference(prompt, run(exact, prompt.ids)) for prompt in prompts)
    size = (GOLDEN / f"{name}.npz").stat().st_size
    gap = min(prompt.gap for prompt in prompts)
    notes = [f"{size} bytes", f"least gap {gap:.1e}", f"float32 off float64 by {loss:.1e}"]
    print(f"{name}: " + ", ".join(notes + check_scaling(shape, seed, prompts[-1])))


def loaded(source: Path, dtype: torch.dtype = torch.float32) -> Any:
    """The model as transformers reads it, refusing a checkpoint that does not fit it exactly."""
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        source, dtype=dtype, attn_implementation="eager", output_loading_info=True
    )
    if any(info.values()):
        raise SystemExit(f"{source}: {info}")
    return model.eval()


def run(model: Any, ids: np.ndarray) -> np.ndarray:
    """Logits of every position, (tokens, vocabulary)."""
    with torch.no_grad():
        logits: np.ndarray = model(torch.from_numpy(ids.astype(np.int64))[None]).logits[0].numpy()
    return logits


def draw(model: Any, length: int, vocab: int, seed: int) -> Recorded:
    """The first random prompt whose best two logits are apart at every position."""
    rng = np.random.default_rng((seed, length))
    for _ in range(DRAWS):
        ids = rng.integers(0, vocab, length).astype(np.int16)
        prompt = Recorded(ids, run(model, ids))
        if prompt.gap > APART:
            return prompt
    raise SystemExit(f"no prompt of {length} tokens is free of near ties")


def difference(prompt: Recorded, other: np.ndarray) -> float:
    """The largest difference, as a part of the largest logit."""
    return float(np.abs(prompt.logits - other).max() / np.abs(prompt.logits).max())


def about(shape: Shape, seed: int, source: Path) -> dict[str, Any]:
    """What the checkpoint can be made from again, and by what it was run."""
    return {
        "shape": asdict(shape),
        "seed": seed,
        "scale": SCALE,
        "sha256": hashlib.sha256((source / "model.safetensors").read_bytes()).hexdigest(),
        "transformers": transformers.__version__,
        "torch": torch.__version__.split("+")[0],
    }


def save(name: str, made_from: dict[str, Any], prompts: list[Recorded]) -> None:
    """One array a quantity, prompts one behind the other."""
    np.savez_compressed(
        GOLDEN / f"{name}.npz",
        about=np.array(json.dumps(made_from)),
        lengths=np.array([len(prompt.ids) for prompt in prompts], np.int16),
        ids=np.concatenate([prompt.ids for prompt in prompts]),
        best=np.concatenate([prompt.logits.argmax(1) for prompt in prompts]).astype(np.int16),
        best_logits=np.concatenate([prompt.logits.max(1) for prompt in prompts]),
        gaps=np.concatenate([np.diff(np.sort(prompt.logits, 1)[:, -2:])[:, 0] for prompt in prompts]),
        largest=np.array([np.abs(prompt.logits).max() for prompt in prompts], np.float32),
        positions=np.concatenate([prompt.positions for prompt in prompts]),
        logits=np.concatenate([prompt.logits[prompt.positions] for prompt in prompts]),
    )


def check_saved(model: Any, source: Path, directory: Path) -> None:
    """What transformers saves itself reads as the same config, with the tensors the converter expects."""
    model.save_pretrained(directory)
    config, asked = read_config(Source.local(directory)), read_config(Source.local(source))
    if config != asked:
        raise SystemExit(f"transformers saved {config}, not {asked}")
    expected = stored_shapes(config)
    saved = {name: tensor.shape for name, tensor in Checkpoint.open(Source.local(directory)).tensors.items()}
    if saved != expected:
        raise SystemExit(f"transformers saved {sorted(saved.items() ^ expected.items())}")


def check_scaling(shape: Shape, seed: int, prompt: Recorded) -> list[str]:
    """How far the logits go from these with the scaling in transformers 5's form (not at all), and without it."""
    scaling = shape.extra.get("rope_scaling")
    if scaling is None:
        return []
    nested = {**scaling, "rope_theta": shape.config()["rope_theta"], "partial_rotary_factor": 0.5}
    resaved = {"rope_scaling": None, "rope_theta": None, "partial_rotary_factor": None, "rope_parameters": nested}
    found = []
    for text, extra in (("under rope_parameters", resaved), ("without scaling", {"rope_scaling": None})):
        with tempfile.TemporaryDirectory() as directory:
            other = replace(shape, extra={**shape.extra, **extra})
            model = loaded(write_checkpoint(Path(directory), other, seed=seed, scale=SCALE))
            found.append(f"{text} off by {difference(prompt, run(model, prompt.ids)):.1e}")
    return found


if __name__ == "__main__":
    main()
