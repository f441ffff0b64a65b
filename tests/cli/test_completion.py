"""The shell completes commands, options and what may stand behind them; help comes in groups; start-up stays light."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from click.shell_completion import BashComplete
from click.testing import CliRunner

from glm_gguf.cli.main import cli


def completed(words: str) -> list[str]:
    """What click answers to bash."""
    complete = BashComplete(cli, {}, "glm-gguf", "_GLM_GGUF_COMPLETE")
    *arguments, incomplete = words.split()[1:]
    return [found.value for found in complete.get_completions(arguments, incomplete)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("glm-gguf conv", ["convert"]),
        ("glm-gguf convert --type q4_k", ["Q4_K_S", "Q4_K_M"]),
        ("glm-gguf chat --top-", ["--top-k", "--top-p"]),
        ("glm-gguf run --cache-type-k q8", ["q8_0"]),
    ],
)
def test_the_shell_completes(words: str, expected: list[str]) -> None:
    assert set(completed(words)) == set(expected)


@pytest.mark.parametrize(
    ("command", "own"),
    [("chat", "--tools"), ("run", "--lines"), ("serve", "--port"), ("bench", "--clients")],
)
def test_help_begins_with_the_commands_own_options(command: str, own: str) -> None:
    shown = CliRunner().invoke(cli, [command, "--help"]).stdout
    sections = re.split(r"^(Options|Sampling|Model and engine):$", shown, flags=re.MULTILINE)[1:]
    assert sections[::2] == ["Options", "Sampling", "Model and engine"]
    for section, option in zip(sections[1::2], (own, "--temperature", "--n-ctx"), strict=True):
        assert option in section


def test_only_a_chat_in_a_terminal_loads_its_editor() -> None:
    program = (
        "import importlib, sys; [importlib.import_module('glm_gguf.cli.' + n) for n in ('run', 'chat', 'serve')];"
        "print([m for m in ('prompt_toolkit', 'llama_cpp', 'rich', 'fastapi') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
