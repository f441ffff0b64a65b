#!/usr/bin/env python3
"""kill -9 a mend at random moments while it writes: the file is the old one or the new one.

    scripts/soak_mend.py [--kills 30] [--seed 0] [--megabytes 50]

Both ways are tried: a head written in place, and a copy that takes the file's name. An interrupted mend in place leaves
FILE.mending, which the next mend puts back first. Prints how many files were old, new, and put back; the exit status is
1 for any other.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from glm_gguf.chat.template import bundled_template
from glm_gguf.gguf_file.head_replacement import restore_head
from glm_gguf.gguf_file.mending import Mending
from glm_gguf.gguf_file.parts import open_all_parts
from tests.gguf_file.builder import STR, U32, Model, glm4

MENDS = """
import sys, time
from glm_gguf.chat.template import bundled_template
from glm_gguf.gguf_file.mending import Mending
from glm_gguf.gguf_file.parts import open_all_parts
mending = Mending.plan(open_all_parts(sys.argv[1]), bundled_template)
print(flush=True)
begun = time.monotonic()
mending.write()
print(time.monotonic() - begun)
"""


def main() -> None:
    """Mend, kill, compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--megabytes", type=int, default=50)
    options = parser.parse_args()
    moments = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="glm-gguf-mend-") as made:
        for in_place in (True, False):
            source = write_faulty(Path(made) / "source.gguf", options.megabytes, in_place=in_place)
            print("in place:" if in_place else "copied:", kills(source, options.kills, moments), flush=True)


def write_faulty(path: Path, megabytes: int, *, in_place: bool) -> Path:
    """A model with a head of 8 MB and keys at fault at both ends of it, behind which weights are zeros."""
    model = glm4()
    model.tensors["token_embd.weight"] = ((8, 16), 30)
    first = {"general.architecture": (STR, "glm4"), "glm4.rope.dimension_count": (U32, 4)}
    long = {"general.description": (STR, "x" * 8_000_000)}
    model = Model({**first, **long, **model.keys, "glm4.rope.dimension_count": (U32, 4)}, model.tensors)
    if in_place:
        del model.keys["tokenizer.ggml.eom_token_id"]
        model.keys["tokenizer.ggml.eom_token_id"] = (U32, 0)
    else:
        del model.keys["tokenizer.ggml.pre"]
    model.write(path)
    with path.open("ab") as file:
        file.truncate(path.stat().st_size + megabytes * 1_000_000)  # bytes behind the last tensor are kept too
    return path


def kills(source: Path, number: int, moments: random.Random) -> str:
    """Kill `number` mends of copies of `source`; returns what was found."""
    path = source.with_name("model.gguf")
    shutil.copy(source, path)
    Mending.plan(open_all_parts(path), bundled_template).write()
    old, new, found = source.read_bytes(), path.read_bytes(), Counter[str]()
    shutil.copy(source, path)
    seconds = mend(path, None)
    for _ in range(number):
        shutil.copy(source, path)
        mend(path, moments.uniform(0, 1.2 * seconds))
        found[state(path, old, new)] += 1
        if path.read_bytes() not in (old, new) and not restore_head(path):
            raise SystemExit(f"neither the old file nor the new one: {path.stat().st_size} bytes")
        restore_head(path)
        if path.read_bytes() not in (old, new):
            raise SystemExit("what was put back is neither the old file nor the new one")
        for left in source.parent.glob(".*"):
            left.unlink()
    return ", ".join(f"{count} {what}" for what, count in found.items()) + f" (a mend writes for {seconds:.3f} s)"


def mend(path: Path, after: float | None) -> float:
    """Mend, and kill the process `after` seconds of writing; returns the seconds that it wrote, 0 if it was killed."""
    child = subprocess.Popen([sys.executable, "-c", MENDS, path], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    child.stdout.readline()
    if after is not None:
        time.sleep(after)
        child.kill()
    said = child.communicate()[0]
    return float(said) if said.strip() else 0.0


def state(path: Path, old: bytes, new: bytes) -> str:
    """Whether a killed mend left the old file, the new one, or both heads beside it."""
    present, interrupted = path.read_bytes(), Path(f"{path}.mending").exists()
    kind = "old" if present == old else "new" if present == new else "with parts of both heads"
    return f"{kind}, FILE.mending beside it" if interrupted else kind


if __name__ == "__main__":
    main()
