"""Who types the words of another program is told ours."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from glm_gguf.cli.main import COMMANDS, cli
from glm_gguf.cli.peer_words import COMMAND_WORDS, OPTION_WORDS

LINES = {
    "quantize a b Q4_K_M": "No such command 'quantize'. 'convert' makes quantised files.",
    "version": "No such command 'version'. Write it as an option: --version.",
    "serve -m x.gguf": "No such option '-m'. The model is an argument, without an option.",
    "serve x.gguf -ngl 99": "No such option '-ngl'. It is --n-gpu-layers here.",
    "run x.gguf hi --ctx-size=512": "No such option '--ctx-size'. It is --n-ctx here.",
    "run x.gguf -n 3": "No such option '-n'. It is --max-tokens here.",
    "convert x --outtype q8_0": "No such option '--outtype'. It is --type here.",
    "convert x x.gguf Q4_K_M": "Got unexpected extra arguments (x.gguf Q4_K_M). Name the output with --out",
    "imatrix x.gguf x.imatrix": "Got unexpected extra argument (x.imatrix). Name the output with --out.",
    "convert x --ctx-size 9": "No such option '--ctx-size'.",
}
"""A line → what is told. `convert` has no context."""


def told(line: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "glm_gguf", *line.split()], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    return " ".join(done.stderr.split())


@pytest.mark.parametrize(("line", "expected"), LINES.items(), ids=LINES)
def test_a_word_of_another_program_is_told_by_ours(line: str, expected: str) -> None:
    assert f"Error: {expected}" in told(line)


def test_no_hint_names_what_a_command_lacks() -> None:
    assert "--n-ctx" not in told("convert x --ctx-size 9")


def options_of_commands() -> set[str]:
    context = click.Context(cli)
    commands = [cli.get_command(context, name) for name in COMMANDS]
    return {option for one in commands if one is not None for parameter in one.params for option in parameter.opts}


@pytest.mark.parametrize("here", OPTION_WORDS.values())
def test_the_options_that_are_told_exist(here: str) -> None:
    assert not here.startswith("--") or here in options_of_commands()


@pytest.mark.parametrize("here", [*COMMAND_WORDS.values(), *OPTION_WORDS.values()])
def test_the_commands_that_are_told_exist(here: str) -> None:
    assert set(here.split("'")[1::2]) <= set(COMMANDS)


def test_no_command_is_told_to_be_another() -> None:
    assert not set(COMMANDS) & {word for words in COMMAND_WORDS for word in words.split()}
