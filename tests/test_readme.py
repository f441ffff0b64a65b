"""README's commands are real: each one's options exist, and its two first commands run."""

from __future__ import annotations

import re
import shlex
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


def test_the_python_example_imports_what_exists() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    imports = [line for line in example.splitlines() if line.startswith("from ")]
    assert imports
    for line in imports:
        exec(line, {})
