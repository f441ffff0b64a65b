"""The soak over threads for a few seconds; by hand it runs for a minute."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "soak_threads.py"


def test_threads_open_ask_and_close_models_among_errors(tiny_gguf: Callable[[str], Path]) -> None:
    command = [sys.executable, str(SCRIPT), str(tiny_gguf("Q8_0")), "--threads", "4", "--seconds", "4", "--growth", "1"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
