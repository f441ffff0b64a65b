"""scripts/bench_tools.py writes typical calls with and without jump-forward, and says what that saves."""

import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_forced_tokens_are_saved() -> None:
    command = [sys.executable, "scripts/bench_tools.py", "--calls", "3"]
    output = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    share = re.search(r"jump-forward: +(\d+) steps \((0\.\d+) x\)", output)
    assert share is not None, output
    assert float(share.group(2)) <= 0.6
    assert "mask: mean" in output
    assert "grammar: " in output
