"""scripts/test_arm64 in its short form, where the packages for it and a kept tree are at hand."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "test_arm64"
CANNOT = 77


def test_a_kernel_a_conversion_and_answers_are_right_on_emulated_arm64() -> None:
    done = subprocess.run([SCRIPT, "--kept", "--short"], capture_output=True, text=True)
    if done.returncode == CANNOT:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^4 passed", done.stdout, re.MULTILINE), done.stdout


@pytest.mark.parametrize("argument", ["--shrt", "-x"])
def test_an_unknown_option_is_refused(argument: str) -> None:
    done = subprocess.run([SCRIPT, argument], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == f"test_arm64: unknown option {argument}; see --help\n"
