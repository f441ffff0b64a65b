"""scripts/quality_curve.py in its short form: a fitted file is nearer to the original than llama.cpp's of its size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_a_fitted_file_is_nearer_to_the_original_than_llama_cpps_of_its_size() -> None:
    words = ["glm_gguf/demo/checkpoint", "--types", "Q4_K_M", "--chunks", "3", "--without-imatrix", "--for", "cpu"]
    command = [sys.executable, "scripts/quality_curve.py", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("lower at 1 of 1 budgets\n")
