"""`bench` measures through the door that applications use."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from glm_gguf.cli.main import cli

SMALL = ["--threads", "1", "--prompt-tokens", "40", "--tokens", "8", "--repeat", "1"]


@pytest.mark.parametrize("clients", [[], ["--clients", "1", "--clients", "5"]], ids=["one client", "one and five"])
def test_every_rate_is_measured(tiny_gguf: Callable[[str], Path], clients: list[str]) -> None:
    command = ["bench", str(tiny_gguf("Q8_0")), *SMALL, *clients, "--json"]
    reports = json.loads(CliRunner().invoke(cli, command, catch_exceptions=False).stdout)
    assert [report["clients"] for report in reports] == ([1, 5] if clients else [1])
    assert all(value > 0 for report in reports for value in report.values())


def test_a_line_a_measurement(tiny_gguf: Callable[[str], Path]) -> None:
    result = CliRunner().invoke(cli, ["bench", str(tiny_gguf("Q8_0")), *SMALL], catch_exceptions=False)
    assert "1 at once" in result.stdout


def test_the_length_of_answers_has_one_option(tiny_gguf: Callable[[str], Path]) -> None:
    result = CliRunner().invoke(cli, ["bench", str(tiny_gguf("Q8_0")), *SMALL, "--max-tokens", "9"])
    assert result.exit_code == 2
    assert "--tokens" in result.stderr
