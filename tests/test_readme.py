"""README's commands are real: each one's options exist, and its two first commands run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from glm_gguf.cli.main import cli

REPOSITORY = Path(__file__).resolve().parent.parent
README = (REPOSITORY / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    part.partition("#")[0].strip() for block in BLOCKS for line in block.splitlines() for part in line.split("|")
]


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("glm-gguf ")])
def test_a_command_in_the_readme_parses(line: str) -> None:
    name, *arguments = shlex.split(line)[1:]
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    command.make_context(name, arguments)


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("scripts/")])
def test_a_script_in_the_readme_is_there_to_run(line: str) -> None:
    path = REPOSITORY / line
    assert path.stat().st_mode & 0o111


def test_the_two_first_commands_are_the_promised_ones() -> None:
    assert [line for line in COMMANDS if line.startswith("scripts/")] == ["scripts/demo", "scripts/test"]


def test_the_python_example_runs(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "GLM-4-9B-0414").symlink_to(REPOSITORY / "glm_gguf" / "demo" / "checkpoint")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUTF8": "1"}
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, env=environment, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    assert 'get_weather {"city": "Paris"}' in done.stdout
    assert "tokens)" in done.stdout


def test_the_demo_shown_is_the_demo(tmp_path: Path) -> None:
    shown = re.findall(r"```\n\$ glm-gguf demo\n…\n(.*?)```", README, re.DOTALL)
    output = subprocess.run(
        [sys.executable, "-m", "glm_gguf", "demo"], capture_output=True, cwd=REPOSITORY, check=True
    ).stdout.decode()
    assert len(shown) == 1
    assert shown[0].strip() in output
