#!/usr/bin/env python3
"""Compile ggml's base library for macOS, and a program that calls what the package calls; links and runs nothing.

    pip install ziglang    # a compiler with macOS's headers
    pip download --no-deps --no-binary :all: llama-cpp-python; tar -xf llama_cpp_python-*.tar.gz
    scripts/check_macos_library.py DIRECTORY [--compiler "python3 -m ziglang"]

DIRECTORY is the unpacked source of llama-cpp-python. Metal and Accelerate need Apple's SDK, and are left out.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

TARGETS = ("aarch64-macos.12.0", "x86_64-macos.12.0")
FLAGS = ("-O2", "-fPIC", "-DGGML_BUILD", "-DGGML_SHARED", "-D_DARWIN_C_SOURCE")
CALLER = """#include <ggml.h>
int main(void) {
    float rows[256] = {0};
    char data[1024];
    size_t n_bytes = ggml_quantize_chunk(GGML_TYPE_Q4_K, rows, data, 0, 1, 256, 0);
    ggml_get_type_traits(GGML_TYPE_Q4_K)->to_float(data, rows, 256);
    return !ggml_validate_row_data(GGML_TYPE_Q4_K, data, n_bytes) + ggml_quantize_requires_imatrix(GGML_TYPE_Q4_K);
}
"""
"""Calls of convert/kernels/ggml.py."""


def sources(ggml: Path) -> list[Path]:
    """Return the files that CMake makes the library of."""
    text = (ggml / "src" / "CMakeLists.txt").read_text("utf-8")
    (listed,) = re.findall(r"add_library\(ggml-base\b([^)]*)\)", text)
    return [ggml / "src" / name for name in listed.split() if name.endswith((".c", ".cpp"))]


def compile_all(compiler: list[str], target: str, ggml: Path, directory: Path) -> int:
    """Compile the library and its caller; returns the bytes of the objects. Raises CalledProcessError."""
    version = (ggml / "src" / "ggml-version.h.in").read_text("utf-8")
    (directory / "ggml-version.h").write_text(re.sub(r"@\w+@", "checked", version))
    caller = directory / "caller.c"
    caller.write_text(CALLER)
    search = [f"-I{path}" for path in (ggml / "include", ggml / "src", directory)]
    n_bytes = 0
    for source in (*sources(ggml), caller):
        language = ["c++", "-std=c++17"] if source.suffix == ".cpp" else ["cc"]
        command = [*compiler, *language, "-target", target, *FLAGS, *search, "-c", str(source)]
        result = directory / f"{source.name}.o"
        subprocess.run([*command, "-o", str(result)], check=True)
        n_bytes += result.stat().st_size
    return n_bytes


def main() -> None:
    """Build for both processors; the exit status tells whether all is as it should be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument(
        "--compiler", default=f"{shlex.quote(sys.executable)} -m ziglang", help="takes cc, c++, -target"
    )
    arguments = parser.parse_args()
    (ggml,) = arguments.directory.glob("vendor/llama.cpp/ggml")
    for target in TARGETS:
        with tempfile.TemporaryDirectory() as directory:
            n_bytes = compile_all(shlex.split(arguments.compiler), target, ggml, Path(directory))
            print(f"{target:20} {n_bytes:,} bytes, and the functions that are called have their types")


if __name__ == "__main__":
    main()
