"""Peak anonymous memory of `glm-gguf convert`, for every type, on a made checkpoint of GLM-4-9B's widths.

    .venv/bin/python scripts/measure_memory.py [--layers 1] [--vocab 16384] [--type Q4_K_M ...]

Memory is RssAnon of the process, sampled every 5 ms (Linux). Columns and threads decide it, rows do
not, so one layer and part of the vocabulary stand for the whole. The files it makes are deleted.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from checkpoints import Shape, write_checkpoint

from glm_gguf.convert.recipe.assignment import Assigner, Overrides
from glm_gguf.convert.recipe.file_types import FILE_TYPES, NEEDS_IMATRIX
from glm_gguf.convert.source.source import Source
from glm_gguf.convert.source.tensor_names import Checkpoint, source_tensors

NINE_B = {"hidden": 4096, "ffn": 13696, "heads": 32, "kv_heads": 2, "head_dim": 128, "bias": True}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--vocab", type=int, default=16384)
    parser.add_argument("--type", action="append", choices=list(FILE_TYPES))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="glm-gguf-memory-") as directory:
        shape = Shape(**NINE_B, layers=arguments.layers, vocab=arguments.vocab)
        source = write_checkpoint(Path(directory) / "model", shape)
        imatrix = write_importance(source, Path(directory) / "imatrix.dat")
        shapes = {tensor.gguf_name: tensor.shape for tensor in source_tensors(Checkpoint.open(Source.local(source)))}
        print(f"{'type':8} {'seconds':>8} {'MiB anonymous':>14} {'MiB written':>12}  files", flush=True)
        for name in arguments.type or FILE_TYPES:
            types = Assigner(FILE_TYPES[name], Overrides(), 16, imatrix=False).assign(shapes)
            needed = name == "Q2_K_S" or NEEDS_IMATRIX & set(types.values())
            print(measure(source, name, imatrix if needed else None), flush=True)


def measure(source: Path, name: str, imatrix: Path | None) -> str:
    """Convert in a process of its own; a line of the table."""
    command = [sys.executable, "-m", "glm_gguf", "convert", str(source), "--type", name]
    command += ["--imatrix", str(imatrix)] if imatrix else []
    with tempfile.TemporaryDirectory(dir=source.parent) as out:
        start = time.monotonic()
        process = subprocess.Popen([*command, "-o", f"{out}/model.gguf"], stderr=subprocess.DEVNULL, stdout=-3)
        peak, files = 0, set[str]()
        while process.poll() is None:
            peak = max(peak, anonymous_kib(process.pid))
            files |= {path.name for path in Path(out).iterdir()}
            time.sleep(0.005)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} failed with {process.returncode}")
        seconds, written = time.monotonic() - start, Path(out, "model.gguf").stat().st_size
    return f"{name:8} {seconds:8.1f} {peak / 1024:14.0f} {written / 2**20:12.0f}  {' '.join(sorted(files))}"


def anonymous_kib(pid: int) -> int:
    """RssAnon of a process, 0 once it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon:")), 0)


def write_importance(source: Path, path: Path) -> Path:
    """An importance matrix (.dat) of random numbers for every matrix."""
    rng = np.random.default_rng(0)
    tensors = source_tensors(Checkpoint.open(Source.local(source)))
    entries: Mapping[str, int] = {t.gguf_name: t.shape[-1] for t in tensors if len(t.shape) > 1}
    with path.open("wb") as file:
        file.write(np.int32(len(entries)).tobytes())
        for name, columns in entries.items():
            file.write(np.int32(len(name)).tobytes() + name.encode() + np.array([1, columns], np.int32).tobytes())
            file.write((rng.random(columns, np.float32) + np.float32(0.01)).tobytes())
    return path


if __name__ == "__main__":
    main()
