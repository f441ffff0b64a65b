"""A process that loads GGUFs with llama.cpp, each in a child of its own, and tells how that child ended.

It reads paths from its standard input, a line each, and writes the child's exit status: negative for a signal.
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

import llama_cpp  # noqa: F401 - loaded once, before the forks

from glm_gguf import GLM, EngineOptions
from glm_gguf.errors import GlmGgufError

SECONDS = 20
"""Processor time of one file; a hang is a fault too."""
OPTIONS = EngineOptions(threads=1, n_ctx=64, n_gpu_layers=0)


def load(path: Path) -> None:
    """Load a file and answer with a token; errors of ours are right."""
    try:
        with GLM(path, options=OPTIONS) as glm:
            glm.chat("Hello", max_tokens=1)
    except GlmGgufError:
        return


def main() -> None:
    """Answer every line."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            silent = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silent, 1)  # ggml lets a debugger tell where it aborts
            os.dup2(silent, 2)
            load(Path(line.rstrip("\n")))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
