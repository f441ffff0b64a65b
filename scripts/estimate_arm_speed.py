"""Estimate what a kernel costs on ARM processors, beside ggml: scripts/estimate_arm_speed.py LLAMA_CPP [--types Q4_K]

LLAMA_CPP is vendor/llama.cpp of llama-cpp-python's source package. numba's code of a kernel is compiled again for each
processor, and ggml-quants.c by clang. qemu runs both on normal weights and tells which instructions they execute. The
bytes of a kernel must be those of this machine's ggml. llvm-mca then estimates the cycles of SAMPLES stretches of them.
It knows no caches and no wrong predictions of branches. These are estimates, not measurements.

Debian's packages: clang-19 llvm-19 qemu-user-static gcc-aarch64-linux-gnu. The columns tell of executed instructions:
  NEON           share of the float instructions that compute on whole vectors; the others are scalar
  spills         share of all instructions that load or store a vector on the stack
  calls          for a thousand weights
  instr, cycles  our kernel's for a weight
  ggml, ratio    ggml's cycles for a weight; by ours
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

MODELS = {
    **{name: name for name in ("apple-m1", "apple-m2", "apple-m3", "apple-m4")},
    **{"cortex-a76": "neoverse-n1", "cortex-x1": "neoverse-v1", "cortex-x2": "neoverse-n2"},
    **{"cortex-x3": "neoverse-v2", "cortex-x4": "neoverse-v2"},
    **{name: name for name in ("neoverse-n1", "neoverse-v1", "neoverse-v2")},
}
"""Processor → the scheduling model of LLVM: its own, or its nearest relative's. All of Apple's share one."""
TYPES = ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS")
TRIPLE = "aarch64-unknown-linux-gnu"
OURS, THEIRS = 4096, 1024  # weights: a batch of 16 super-blocks; ggml does one after another
SAMPLES, STRETCH = 12, 4000  # instructions
VECTOR_BYTES = {"neoverse-v1": 32}  # of SVE; 16 elsewhere
BRANCH = re.compile(r"^(b|bl|blr|br|ret|cbz|cbnz|tbz|tbnz|b\.\w+)\b")
CALL = re.compile(r"^(bl|blr|ret)\b")
FLOAT = re.compile(r"^f(?!mov)\w+\t")
VECTOR = re.compile(r"^\S+\t[vz]\d+\.(4s|2d|s|d)\b")
SPILL = re.compile(r"^(ldr|str|ldp|stp|ldur|stur)\tq\d+,.*\[sp\b")


@dataclass(frozen=True)
class Cost:
    """What the instructions of a run are, and their cycles a weight by llvm-mca."""

    instructions: float
    neon: float
    spills: float
    calls: float
    cycles: float


def run(*command: str | Path, **options: object) -> str:
    """Run a program and return its output; SystemExit with what it said where it fails."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, errors="replace", **options)
    if done.returncode:
        raise SystemExit(f"{command[0]} failed: {done.stderr or done.stdout}")
    return done.stdout


def unoptimised(name: str) -> tuple[str, str]:
    """Return numba's code of a kernel before it is optimised for this processor, and the name of its function."""
    from gguf import GGMLQuantizationType

    from glm_gguf.convert.kernels import ggml, quantiser

    quantise = importlib.import_module(f"glm_gguf.convert.kernels.{name.lower()}").quantise
    rows = quantiser.flat(np.zeros(OURS, np.float32))
    quantise(rows, np.empty(ggml.row_bytes(GGMLQuantizationType[name], OURS), np.uint8))
    (signature,) = quantise.signatures
    return quantise.inspect_llvm(signature), quantise.overloads[signature].fndesc.llvm_func_name


def compiled(code: str, processor: str, path: Path) -> Path:
    """Compile numba's code for a processor with the passes that numba runs; returns the object file."""
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(TRIPLE).create_target_machine(
        cpu=processor, opt=3, reloc="static", codemodel="small"
    )
    module = llvm.parse_assembly(code)
    module.triple, module.data_layout = TRIPLE, str(machine.target_data)
    tuning = llvm.create_pipeline_tuning_options(speed_level=3)
    tuning.loop_vectorization = True
    builder = llvm.create_pass_builder(machine, tuning)
    passes = builder.getModulePassManager()
    passes.add_refprune_pass()
    passes.run(module, builder)
    path.write_bytes(machine.emit_object(module))
    return path


def ggml_object(llama_cpp: Path, processor: str, path: Path) -> Path:
    """Compile ggml-quants.c for a processor, with multiply and add fused as ARM's builds of ggml are."""
    ggml = llama_cpp / "ggml"
    include = ("-I", ggml / "include", "-I", ggml / "src")
    flags = (f"-mcpu={processor}", "-O3", "-DNDEBUG", "-std=gnu11", "-D_GNU_SOURCE")
    run("clang-19", "--target=aarch64-linux-gnu", *flags, *include, "-c", ggml / "src" / "ggml-quants.c", "-o", path)
    return path


def linked(object_: Path, function: str, *flags: str) -> Path:
    """Link a quantiser with its caller; what only Python needs of a kernel stays undefined."""
    program = object_.with_suffix("")
    source = Path(__file__).with_suffix(".c")
    wanted = f"-Wl,--defsym=kernel={function},--unresolved-symbols=ignore-all"
    run("aarch64-linux-gnu-gcc", "-O2", "-w", "-static", *flags, source, object_, "-o", program, "-lm", wanted)
    return program


def executed(program: Path, rows: Path, n: int, n_bytes: int, vector_bytes: int) -> tuple[list[str], bytes]:
    """Return the instructions that a quantiser executes for `n` weights, in order, and the bytes that it wrote."""
    text, main = disassembled(program)
    out = program.with_suffix(".out")
    qemu = ("qemu-aarch64-static", "-cpu", f"max,sve-default-vector-length={vector_bytes}", "-d", "exec,nochain")
    log = run(*qemu, "-D", "/dev/stdout", program, rows, str(n), out, str(n_bytes))
    blocks = [int(address, 16) for address in re.findall(r"^Trace \d+: \S+ \[\w+/(\w+)/", log, re.MULTILINE)]
    in_main = [number for number, address in enumerate(blocks) if address in main]
    begin, end = max(pairwise(in_main), key=lambda pair: pair[1] - pair[0])
    instructions = []
    for block, following in zip(blocks[begin + 1 : end], blocks[begin + 2 : end + 1], strict=True):
        address = block
        while True:  # qemu's blocks end at a branch, and where the next begins
            instructions.append(text[address])
            address += 4
            if BRANCH.match(instructions[-1]) or address == following:
                break
    return instructions, out.read_bytes()


def disassembled(program: Path) -> tuple[dict[int, str], set[int]]:
    """Return the instruction at each address, and the addresses of main()."""
    text, main, function = {}, set(), ""
    for line in run("aarch64-linux-gnu-objdump", "-d", "--no-show-raw-insn", program).splitlines():
        if named := re.match(r"^[0-9a-f]+ <(.*)>:$", line):
            function = named[1]
        elif found := re.match(r"^\s+([0-9a-f]+):\t(.*)$", line):
            plain = re.sub(r"\s*//.*", "", found[2])
            text[int(found[1], 16)] = re.sub(r"\b(0x)?[0-9a-f]+ <[^>]*>$", "target", plain)
            if function == "main":
                main.add(int(found[1], 16))
    return text, main


def cost(instructions: list[str], n: int, model: str) -> Cost:
    """Count kinds of instructions, and estimate cycles from stretches spread over the run."""
    floats = [line for line in instructions if FLOAT.match(line)]
    neon = sum(VECTOR.match(line) is not None for line in floats) / len(floats)
    spills = sum(SPILL.match(line) is not None for line in instructions) / len(instructions)
    calls = sum(line.startswith("bl") for line in instructions) / n * 1000
    straight = [line for line in instructions if not CALL.match(line)]
    step = max(1, (len(straight) - STRETCH) // (SAMPLES - 1))
    stretches = [straight[start : start + STRETCH] for start in range(0, step * SAMPLES, step)]
    regions = [line for each in stretches for line in ("# LLVM-MCA-BEGIN", *each, "# LLVM-MCA-END")]
    options = ("--iterations=1", "--skip-unsupported-instructions=any", "--json")
    command = ("llvm-mca-19", "--mtriple=aarch64", f"--mcpu={model}", *options)
    told = json.loads(run(*command, input="\n".join(regions) + "\n"))
    cycles = sum(region["SummaryView"]["TotalCycles"] for region in told["CodeRegions"])
    per_instruction = cycles / sum(len(each) for each in stretches)
    return Cost(len(instructions) / n, neon, spills, calls, per_instruction * len(straight) / n)


def estimate(name: str, processor: str, code: tuple[str, str], theirs: Path, directory: Path) -> tuple[Cost, Cost]:
    """Return the cost of our kernel and of ggml; SystemExit where the kernel's bytes are not ggml's."""
    from gguf import GGMLQuantizationType

    from glm_gguf.convert.kernels import ggml

    type_, rows = GGMLQuantizationType[name], np.fromfile(directory / "rows", np.float32)
    vector_bytes, model = VECTOR_BYTES.get(processor, 16), MODELS[processor]
    ours = linked(compiled(code[0], processor, directory / "ours.o"), code[1], "-DOURS")
    sizes = [ggml.row_bytes(type_, n) for n in (OURS, THEIRS)]
    instructions, written = executed(ours, directory / "rows", OURS, sizes[0], vector_bytes)
    if written != ggml.quantise(type_, rows.reshape(1, -1), None).tobytes():
        raise SystemExit(f"{name}: the kernel for {processor} does not write ggml's bytes")
    function = f"quantize_{name.lower().replace('_k', '_K')}"
    run("cp", theirs, directory / "theirs.o")
    other, _ = executed(linked(directory / "theirs.o", function), directory / "rows", THEIRS, sizes[1], vector_bytes)
    return cost(instructions, OURS, model), cost(other, THEIRS, model)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("llama_cpp", type=Path, help="sources of llama.cpp")
    parser.add_argument("--types", default=",".join(TYPES))
    parser.add_argument("--processors", default=",".join(MODELS))
    asked = parser.parse_args()
    types, processors = asked.types.split(","), asked.processors.split(",")
    unknown = [*({*types} - {*TYPES}), *({*processors} - {*MODELS})]
    if unknown or not (asked.llama_cpp / "ggml" / "src" / "ggml-quants.c").is_file():
        parser.error(
            f"unknown: {', '.join(unknown)}" if unknown else f"{asked.llama_cpp} has no ggml/src/ggml-quants.c"
        )
    with tempfile.TemporaryDirectory() as name:
        os.environ |= {"NUMBA_OPT": "0", "NUMBA_CACHE_DIR": f"{name}/numba"}  # before numba is imported
        tabulate(types, processors, asked.llama_cpp, Path(name))


def tabulate(types: list[str], processors: list[str], llama_cpp: Path, directory: Path) -> None:
    """Print a line for each processor and type."""
    rows = np.random.default_rng(0).standard_normal(OURS, np.float32) * np.float32(0.02)
    rows.tofile(directory / "rows")
    codes = {name: unoptimised(name) for name in types}
    counts = f"{'NEON':>5} {'spills':>6} {'calls':>6} {'instr':>6}"
    print(f"{'processor':12} {'type':7} {counts} {'cycles':>7} {'ggml':>7} {'ratio':>5}")
    for processor in processors:
        theirs = ggml_object(llama_cpp, processor, directory / f"{processor}.o")
        for name in types:
            ours, other = estimate(name, processor, codes[name], theirs, directory)
            shares = f"{ours.neon:5.0%} {ours.spills:6.1%} {ours.calls:6.1f} {ours.instructions:6.1f}"
            cycles = f"{ours.cycles:7.1f} {other.cycles:7.1f} {other.cycles / ours.cycles:5.1f}"
            print(f"{processor:12} {name:7} {shares} {cycles}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
