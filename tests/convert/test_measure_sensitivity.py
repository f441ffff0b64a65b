"""scripts/measure_sensitivity.py in its short form: it measures every kind of matrix that the table of worths has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from glm_gguf.convert.recipe.sensitivity import SENSITIVITY

ROOT = Path(__file__).resolve().parents[2]


def test_every_kind_of_matrix_is_worth_something() -> None:
    command = [sys.executable, "scripts/measure_sensitivity.py", "made:1", "--chunks", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {line.split()[0]: float(line.split()[1]) for line in done.stdout.splitlines() if not line.startswith(" ")}
    assert found.keys() == {kind.name for kind in SENSITIVITY}
    assert min(found.values()) > 0
