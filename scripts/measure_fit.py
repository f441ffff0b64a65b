"""Open GLM-4-9B as the plan chooses, within limits of memory: scripts/measure_fit.py [--limit 8] [--type Q4_K_M].

Linux, as root: each run has a memory control group of its own, of version 2 or 1. The files have GLM-4-9B's shapes and
a hole for weights: they take no disk, and memory like any other. A run opens the file without options, answers, calls
a tool, touches all memory that llama.cpp has set aside, and answers again. A line tells the context, the anonymous
memory and its estimate. `the most` is the context with which the measured memory would fill the limit. A run that the
kernel kills says so.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from checkpoints import Shape, write_hollow_weights

from glm_gguf.convert import ConvertOptions, TypeChoices, make_plans
from glm_gguf.convert.source.source import Source
from glm_gguf.convert.writing.layout import lay_out
from glm_gguf.model import GLM

TYPES = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q2_K")
GROUPS = Path("/sys/fs/cgroup")
POPULATE_WRITE = 23  # MADV_POPULATE_WRITE of linux/mman.h
STACKS = (8, 64, 512)
"""MiB: sizes of mappings that are stacks and arenas, of which nothing is touched."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--limit", type=float, action="append", metavar="GIB")
    parser.add_argument("--type", action="append")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child is not None:
        return print(json.dumps(opened(arguments.child)))
    with tempfile.TemporaryDirectory(prefix="glm-gguf-fit-") as directory:
        files = write_hollow_files(Path(directory), arguments.type or list(TYPES))
        for limit in arguments.limit or (2, 4, 8):
            for name, path in files.items():
                print(f"{limit:g} GiB  {name:7} {run(path, int(limit * 2**30))}", flush=True)
    return None


def write_hollow_files(directory: Path, types: list[str], layers: int = 40) -> dict[str, Path]:
    """Write a GGUF of each type, with the shapes of GLM-4-9B's layers and a hole for weights."""
    extra = {"max_position_embeddings": 32768}
    shape = Shape(4096, 13696, layers, 32, 2, 128, vocab=151552, bias=True, extra=extra)
    (directory / "model").mkdir()
    (directory / "model/config.json").write_text(json.dumps(shape.config()))
    source = Source.local(write_hollow_weights(directory / "model"))
    found = {}
    for plan in make_plans(source, ConvertOptions(types=TypeChoices(types[0], tuple(types[1:])))):
        (layout,) = lay_out(plan)
        found[plan.file_type.name] = path = directory / f"{plan.file_type.name}.gguf"
        with path.open("wb") as file:
            file.write(layout.header)
            file.truncate(layout.n_bytes)
    return found


def run(path: Path, limit: int) -> str:
    """Open a file in a group with a limit, in a process of its own; a line about it."""
    with path.open("rb") as file:  # pages of the file count for the group that reads them first
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    with memory_group(limit) as group:
        join = f"import os; open({str(group / 'cgroup.procs')!r}, 'w').write(str(os.getpid())); "
        command = f"{join}import sys, runpy; runpy.run_path(sys.argv[0], run_name='__main__')"
        words = [__file__, "--child", str(path)]
        program = f"import sys; sys.argv = {words!r}; {command}"
        ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    if ran.returncode == -signal.SIGKILL:
        return "KILLED"
    if ran.returncode:
        return f"failed: {(ran.stderr.strip().splitlines() or [''])[-1]}"
    told = json.loads(ran.stdout.splitlines()[-1])
    taken, estimate, weights = told["anonymous"], told["estimate"], path.stat().st_size
    most = told["n_ctx"] + (limit - taken - (0 if told["streamed"] else weights)) // told["cell"]
    how = "weights read again and again" if told["streamed"] else f"the most {min(most, 32768):,}"
    given_up = ", ".join(told["given_up"])
    return f"{told['n_ctx']:6,} tokens, {taken / 1e6:5.0f} MB ({estimate / 1e6:.0f} estimated), {how}; {given_up}"


@contextmanager
def memory_group(limit: int) -> Iterator[Path]:
    """Make a control group with a limit, and remove it."""
    controllers = GROUPS / "cgroup.controllers"
    unified = controllers.exists() and "memory" in controllers.read_text()
    group = (GROUPS if unified else GROUPS / "memory") / f"glm-gguf-fit-{os.getpid()}"
    group.mkdir()
    try:
        (group / ("memory.max" if unified else "memory.limit_in_bytes")).write_text(str(limit))
        yield group
    finally:
        group.rmdir()


def opened(path: Path) -> dict[str, object]:
    """Open a file without options, answer, touch what is set aside, and answer again."""
    before = anonymous_bytes()
    with GLM(path, threads=1) as glm:
        ids = list(range(1000, 1004))
        list(glm.stream_completion(ids, max_tokens=2, ignore_eos=True))
        glm.chat("What is the weather in Paris?", tools=[weather], tool_choice="required", max_tokens=2)
        populate()
        list(glm.stream_completion(ids, max_tokens=2, ignore_eos=True))
        plan = glm._plan
        copied = sum(
            tensor.n_bytes for tensor in glm._file.contents.tensors if plan.repack and tensor.type.name in REPACKED
        )
        return {
            "n_ctx": glm.n_ctx,
            "anonymous": anonymous_bytes() - copied,
            "estimate": before + plan.need.beside_weights,
            "cell": plan.need.cell,
            "streamed": plan.fits is False,
            "given_up": plan.given_up,
        }


def weather(city: str) -> str:
    """Tell the weather of a city."""
    return city


REPACKED = frozenset({"q4_0", "q4_K", "q2_K", "iq4_nl"})
"""Types that llama.cpp's kernels for x86 want in another order."""


def populate() -> None:
    """Touch every page of the large mappings that are no stacks."""
    madvise = ctypes.CDLL(None).madvise
    for line in Path("/proc/self/maps").read_text().splitlines():
        bounds, mode, _, _, _, *name = line.split()
        start, stop = (int(bound, 16) for bound in bounds.split("-"))
        if mode == "rw-p" and not name and stop - start >= 2**20 and (stop - start) >> 20 not in STACKS:
            madvise(ctypes.c_void_p(start), ctypes.c_size_t(stop - start), POPULATE_WRITE)


def anonymous_bytes() -> int:
    """RssAnon of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


if __name__ == "__main__":
    main()
