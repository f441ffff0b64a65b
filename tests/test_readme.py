"""README shows what is there: its program runs, and the dialogue is the demo's. test_docs_blocks runs its commands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from documents import REPOSITORY, blocks

README = REPOSITORY / "README.md"


def test_the_scripts_shown_are_demo_and_test() -> None:
    lines = [line for block in blocks("sh", README) for line in block.text.splitlines()]
    assert [line.split()[0] for line in lines if line.startswith("scripts/")] == ["scripts/demo", "scripts/test"]


def test_the_wheel_of_llama_cpp_has_the_required_version() -> None:
    (wanted,) = re.findall(r'"llama-cpp-python==([\d.]+)"', (REPOSITORY / "pyproject.toml").read_text("utf-8"))
    for page in (README, REPOSITORY / "docs" / "platforms.md"):
        assert set(re.findall(r"(?:version|llama-cpp-python) (\d+\.\d+\.\d+)", page.read_text("utf-8"))) == {wanted}


def test_the_python_example_runs(workplace: Path) -> None:
    (example,) = (block.text for block in blocks("python", README))
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUTF8": "1"}
    done = subprocess.run(
        [sys.executable, "-c", example],
        cwd=workplace,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Hello")
    assert re.search(r"^The weather in Paris is \w+, -?\d+ degrees", done.stdout, re.MULTILINE)


def test_the_demo_shown_is_the_demo(tmp_path: Path) -> None:
    shown = re.findall(r"```\n\$ glm-gguf demo\n…\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    output = subprocess.run(
        [sys.executable, "-m", "glm_gguf", "demo"], capture_output=True, cwd=REPOSITORY, check=True
    ).stdout.decode()
    assert len(shown) == 1
    assert shown[0].strip() in output
