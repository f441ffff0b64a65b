"""Record what transformers computes where a question stands far behind a text, for tests/convert/test_far_logits.py.

Needs torch and transformers 5 beside numpy, gguf and this checkout:

    PYTHONPATH=. python scripts/record_far_logits.py

The text stands at positions from 0 on, the question at FAR. Between them stands one token that sees itself alone:
llama.cpp asks for positions without a gap in a sequence, and the test gives it that token as another sequence's.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from record_logits import REPOSITORY, about, loaded

sys.path.insert(0, str(REPOSITORY / "tests"))

from checkpoints import Shape, write_checkpoint
from checkpoints_2024 import CHAT, CHAT_1M, hf_shape

GOLDEN = REPOSITORY / "tests" / "golden" / "far_logits"
FAR, TEXT, QUESTION = 36_000, 24, 16
SCALE = 0.1
WIDE = Shape(ffn=416, heads=8, kv_heads=2, head_dim=32, bias=True)
CASES = {
    "chat": hf_shape(WIDE, CHAT),
    "chat-1m": hf_shape(Shape(heads=8, kv_heads=4, head_dim=32, bias=True), CHAT_1M),
}


def main() -> None:
    """Record every case."""
    torch.set_num_threads(2)
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for seed, (name, shape) in enumerate(CASES.items(), 31):
        with tempfile.TemporaryDirectory() as directory:
            source = write_checkpoint(Path(directory) / "model", shape, seed=seed, scale=SCALE)
            ids = np.random.default_rng(seed).integers(0, shape.vocab, TEXT + 1 + QUESTION).astype(np.int16)
            logits = far_logits(source, ids, torch.float32)
            exact = far_logits(source, ids, torch.float64)
            made_from = json.dumps(about(shape, seed, source))
        np.savez_compressed(GOLDEN / f"{name}.npz", about=np.array(made_from), far=FAR, ids=ids, logits=logits)
        loss = float(np.abs(logits - exact).max() / np.abs(exact).max())
        print(f"{name}: float32 off float64 by {loss:.1e}")


def far_logits(source: Path, ids: np.ndarray, dtype: torch.dtype) -> np.ndarray:
    """Logits of the question's tokens, (tokens, vocabulary); the token between sees itself alone."""
    positions = np.concatenate([np.arange(TEXT), FAR - 1 + np.arange(QUESTION + 1)])
    sees = np.tril(np.ones((len(ids), len(ids)), bool))
    sees[TEXT, :TEXT] = False
    mask = torch.zeros(sees.shape, dtype=dtype).masked_fill(~torch.from_numpy(sees), torch.finfo(dtype).min)
    model = loaded(source, dtype)
    with torch.no_grad():
        found = model(
            torch.from_numpy(ids.astype(np.int64))[None],
            attention_mask=mask[None, None],
            position_ids=torch.from_numpy(positions)[None],
        )
    logits: np.ndarray = found.logits[0, TEXT + 1 :].numpy()
    return logits


if __name__ == "__main__":
    main()
