#!/usr/bin/env python3
"""Convert a random checkpoint of GLM-4-9B's shapes with glm-gguf and with llama.cpp, each on all cores.

    scripts/bench_convert.py --llama-cpp TREE --python PYTHON --llama-quantize BINARY --dir DIRECTORY
        [--official ../shared/glm] [--layers 4] [--types Q4_K_M IQ4_XS] [--imatrix] [--rounds 3] [--threads N]

llama.cpp converts to BF16 once a round (PYTHON has torch and transformers), then runs llama-quantize for each type.
Ours is one `glm-gguf convert` a type. Rounds alternate the order. Before each process the disk is flushed and the
checkpoint leaves the page cache; llama-quantize's BF16 file stays there. `--imatrix` gives both random importance.
Seconds are wall time, and the processor's by wait4. Memory is a process's peak: resident by wait4, anonymous by
samples. wait4 also counts the written bytes. The tensors of both files must be equal. DIRECTORY needs 5 bytes a weight
(9B with 4 layers: 2.1e9 weights); the script removes its files.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGUFReader

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "scripts")]
from checkpoints import Shape, stored, write_official_tokenizer, write_tensors_one_by_one  # noqa: E402
from measure_memory import NINE_B, anonymous_kib, write_importance  # noqa: E402

from glm_gguf.convert.source.config import read_config  # noqa: E402
from glm_gguf.convert.source.source import Source  # noqa: E402
from glm_gguf.convert.source.tensor_names import stored_shapes  # noqa: E402
from glm_gguf.cpus import usable_cpus  # noqa: E402

ROWS = 2**24  # weights drawn at once
IMATRIX = "imatrix.dat"


@dataclass(frozen=True)
class Cost:
    """The cost of a process: seconds, those of the processor, KiB of memory, bytes written."""

    seconds: float
    processor: float
    resident: int
    anonymous: int
    written: int

    def __add__(self, other: Cost) -> Cost:
        """Add the cost of two processes, run one after the other."""
        peaks = max(self.resident, other.resident), max(self.anonymous, other.anonymous)
        processor = self.processor + other.processor
        return Cost(self.seconds + other.seconds, processor, *peaks, self.written + other.written)


def run(command: list[object], source: Path, **environment: str) -> Cost:
    """Run a process on a checkpoint that is not in the page cache; raises SystemExit if it fails."""
    os.sync()
    for path in source.glob("*.safetensors"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    with tempfile.TemporaryFile() as said:
        start = time.monotonic()
        process = subprocess.Popen(
            [str(part) for part in command], stdout=said, stderr=subprocess.STDOUT, env={**os.environ, **environment}
        )
        peak = [0]
        sampler = threading.Thread(target=sample, args=(process.pid, peak), daemon=True)
        sampler.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        sampler.join()
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{command} failed:\n{said.read().decode()[-4000:]}")
    processor = usage.ru_utime + usage.ru_stime
    return Cost(seconds, processor, usage.ru_maxrss, peak[0], usage.ru_oublock * 512)


def sample(pid: int, peak: list[int]) -> None:
    """Sample a process's largest anonymous memory until it ends."""
    while found := anonymous_kib(pid):
        peak[0] = max(peak[0], found)
        time.sleep(0.02)


def with_importance(source: Path) -> list[object]:
    """The words that give an importance matrix, where the benchmark has one."""
    imatrix = source.parent / IMATRIX
    return ["--imatrix", imatrix] if imatrix.exists() else []


def ours(source: Path, type_: str, threads: int) -> Cost:
    """Run glm-gguf convert."""
    out = source.parent / f"ours-{type_}.gguf"
    command = [sys.executable, "-m", "glm_gguf", "convert", source, "-o", out, "--force", *with_importance(source)]
    return run([*command, "--type", type_, "--threads", threads], source, PYTHONPATH=str(ROOT))


@dataclass(frozen=True)
class LlamaCpp:
    """llama.cpp's converter and quantiser."""

    tree: Path
    python: Path
    binary: Path

    def to_bf16(self, source: Path) -> Cost:
        """convert_hf_to_gguf.py to BF16."""
        command = [self.python, self.tree / "convert_hf_to_gguf.py", source, "--outtype", "bf16"]
        return run([*command, "--outfile", self.bf16(source)], source, PYTHONPATH=str(self.tree / "gguf-py"))

    def quantise(self, source: Path, type_: str, threads: int) -> Cost:
        """llama-quantize of the BF16 file."""
        command = [self.binary, *with_importance(source), self.bf16(source)]
        return run([*command, source.parent / f"theirs-{type_}.gguf", type_, threads], source)

    def bf16(self, source: Path) -> Path:
        """The path of the intermediate file."""
        return source.parent / "bf16.gguf"


def make_checkpoint(directory: Path, layers: int, official: Path) -> Path:
    """Write random weights of 9B's shapes, piece by piece, and the official vocabulary."""
    directory.mkdir()
    shape = Shape(**NINE_B, layers=layers, vocab=151552, extra={"eos_token_id": [151329, 151336, 151338]})
    (directory / "config.json").write_text(json.dumps(shape.config()))
    write_official_tokenizer(directory, official)
    rng = np.random.default_rng(0)
    shapes = stored_shapes(read_config(Source.local(directory)))

    def pieces(name: str) -> Iterator[bytes]:
        left = int(np.prod(shapes[name]))
        while left:
            values = rng.standard_normal(min(left, ROWS), np.float32) * np.float32(0.02)
            left -= len(values)
            yield stored(values + np.float32("norm" in name), "BF16").tobytes()

    write_tensors_one_by_one(directory / "model.safetensors", shapes, pieces)
    return directory


def same_tensors(first: Path, second: Path) -> bool:
    """Whether two files have the same tensors, byte for byte."""
    both = zip(GGUFReader(first).tensors, GGUFReader(second).tensors, strict=True)
    return all(a.name == b.name and a.tensor_type == b.tensor_type and np.array_equal(a.data, b.data) for a, b in both)


def one_round(number: int, source: Path, peer: LlamaCpp, options: argparse.Namespace) -> dict[str, tuple[Cost, Cost]]:
    """Measure (ours, theirs) for every type; odd rounds begin with theirs."""
    mine: dict[str, Cost] = {}
    theirs: dict[str, Cost] = {}

    def run_ours() -> None:
        mine.update({type_: ours(source, type_, options.threads) for type_ in options.types})

    def run_theirs() -> None:
        bf16 = peer.to_bf16(source)
        theirs.update({type_: bf16 + peer.quantise(source, type_, options.threads) for type_ in options.types})

    for step in (run_theirs, run_ours) if number % 2 else (run_ours, run_theirs):
        step()
    return {type_: (mine[type_], theirs[type_]) for type_ in options.types}


def show(label: str, costs: list[Cost]) -> None:
    """A row of the table: median seconds, largest memory."""
    seconds = statistics.median(cost.seconds for cost in costs)
    memory = (max(getattr(cost, kind) for cost in costs) / 1024 for kind in ("resident", "anonymous"))
    processor = statistics.median(cost.processor for cost in costs)
    print(
        f"{label:20} {seconds:8.1f} {processor:9.1f} {next(memory):12,.0f} {next(memory):12,.0f} "
        f"{costs[-1].written / 1e6:12,.0f}"
    )


def report(rounds: list[dict[str, tuple[Cost, Cost]]]) -> None:
    """Print the table and the ratio of each round."""
    print(f"{'':20} {'seconds':>8} {'processor':>9} {'MiB resident':>12} {'MiB anon.':>12} {'MB written':>12}")
    for type_ in rounds[0]:
        pairs = [costs[type_] for costs in rounds]
        show(f"{type_} ours", [mine for mine, _ in pairs])
        show(f"{type_} llama.cpp", [theirs for _, theirs in pairs])
        for kind in ("seconds", "processor"):
            ratios = [getattr(mine, kind) / getattr(theirs, kind) for mine, theirs in pairs]
            rounds_of = " ".join(f"{ratio:.3f}" for ratio in ratios)
            print(f"{type_} ratio of {kind} {statistics.median(ratios):.3f}  (rounds: {rounds_of})")


def main() -> None:
    """Make a checkpoint, measure, compare, report, remove the files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("--llama-cpp", "--python", "--llama-quantize", "--dir"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--official", type=Path, default=ROOT.parent / "shared" / "glm")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--types", nargs="+", default=["Q4_K_M", "IQ4_XS"])
    parser.add_argument("--imatrix", action="store_true", help="random importance, the same for both")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=usable_cpus())
    options = parser.parse_args()
    peer = LlamaCpp(options.llama_cpp, options.python.absolute(), options.llama_quantize)
    with tempfile.TemporaryDirectory(prefix="glm-gguf-bench-", dir=options.dir) as made:
        source = make_checkpoint(Path(made) / "GLM-4-9B-0414", options.layers, options.official)
        if options.imatrix:
            write_importance(source, source.parent / IMATRIX)
        rounds = []
        for number in range(options.rounds):
            rounds.append(one_round(number, source, peer, options))
            print(f"round {number + 1} of {options.rounds} done", file=sys.stderr, flush=True)
        for type_ in options.types:
            names = source.parent / f"ours-{type_}.gguf", source.parent / f"theirs-{type_}.gguf"
            print(f"{type_}: tensors {'equal' if same_tensors(*names) else 'DIFFER'}")
        report(rounds)


if __name__ == "__main__":
    main()
