"""What docs/cli.md says of exit codes: 2 for a mistake in the command line, which the error names first, and else 1."""

from __future__ import annotations

import re
import socket
import sys
from pathlib import Path

import pytest

from glm_gguf.cli.main import COMMANDS, main

MODEL = "no-such.gguf"
MISTAKES = {
    "a batch of a cluster that is none": ("batch", MODEL, "in", "out", "--ray-actors", "many"),
    "a batch without its output": ("batch", MODEL, "in"),
    "a bench of nothing": ("bench", MODEL, "--n-ctx", "-1"),
    "a card of an unknown option": ("card", MODEL, "--nonsense"),
    "a chat that is too hot": ("chat", MODEL, "--temperature", "1000"),
    "a command that is none": ("nonsense",),
    "a comparison of nothing": ("compare",),
    "a completion of no shell": ("completion", "tcl"),
    "a conversion to no type": ("convert", ".", "--type", "Q9_Z"),
    "a demo with an argument": ("demo", "nonsense"),
    "a doctor with an argument": ("doctor", "nonsense"),
    "a worker on a host of another machine": ("worker", "--host", "192.0.2.1"),
    "a list with an argument": ("list", "nonsense"),
    "a model to launch that is none": ("launch", "nonsense"),
    "a plan of a worker that is no address": ("plan", MODEL, "--worker", "a..b"),
    "a pull of nothing": ("pull",),
    "a research without a question": ("research",),
    "a run without slots": ("run", MODEL, "Hi", "--n-parallel", "0"),
    "a server with an origin that is none": ("serve", MODEL, "--cors-origin", "nonsense"),
    "a server without a key": ("serve", MODEL, "--host", "0.0.0.0"),
    "a setting that is none": ("config", "set", "nonsense", "1"),
    "a setting's value": ("config", "set", "n-ctx", "many"),
    "a worker without a name of a host": ("worker", "--host", "a..b"),
    "an evaluation of too few tokens": ("evaluate", MODEL, "--chunk-tokens", "-1"),
    "an importance matrix without a file": ("imatrix", MODEL, "--chunks", "0"),
    "an inspection in two ways": ("inspect", MODEL, "--json", "--tensors"),
    "mending without a file": ("mend",),
    "removing nothing": ("rm",),
    "showing nothing": ("show",),
    "verifying one file": ("verify", MODEL),
    "writing without a source": ("write", MODEL, "Why?"),
}
ERRORS = {
    "a batch": ("batch", MODEL, "in.jsonl", "out.jsonl"),
    "a bench": ("bench", MODEL),
    "a card": ("card", MODEL),
    "a chat": ("chat", MODEL),
    "a comparison": ("compare", MODEL, "--reference", "no-such"),
    "a conversion": ("convert", "no-such"),
    "a removal": ("rm", "no-such"),
    "a run": ("run", MODEL, "Hi"),
    "a server": ("serve", MODEL, "--port", "0"),
    "a verification": ("verify", MODEL, "--against", "no-such"),
    "an importance matrix": ("imatrix", MODEL, "-o", "out.gguf"),
    "an inspection": ("inspect", MODEL),
    "an unknown model": ("show", "no-such"),
    "mending": ("mend", MODEL),
    "writing": ("write", MODEL, "Why?", "--sources", "no-such.json"),
}
"""Commands whose options are right, and whose file is missing."""
LINE = re.compile(
    r"Error: (--[a-z-]+|[A-Z]+)\b|Error: (Invalid value|Missing (argument|option)|No such (option|command)|Got une)"
)
"""How the error of a mistake begins."""


def ended(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[object, str]:
    """The exit code of a command line, and its last line."""
    monkeypatch.setattr(sys, "argv", ["glm-gguf", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code, capsys.readouterr().err.strip().splitlines()[-1]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", sorted(MISTAKES))
def test_a_mistake_in_the_command_line_is_named_and_ends_with_2(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, line = ended(MISTAKES[name], monkeypatch, capsys)
    assert (code, bool(LINE.match(line))) == (2, True), line


@pytest.mark.parametrize("name", sorted(ERRORS))
def test_a_file_that_is_missing_ends_with_1(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, line = ended(ERRORS[name], monkeypatch, capsys)
    assert (code, LINE.match(line)) == (1, None), line


def test_every_command_is_tried() -> None:
    assert set(COMMANDS) == {words[0] for words in MISTAKES.values()} - {"nonsense"}


@pytest.mark.parametrize("command", [("serve",), ("worker",)], ids=["serve", "worker"])
def test_a_port_that_is_taken_is_an_error_and_another_port_the_advice(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, line = ended((*command, "--port", port), monkeypatch, capsys)
    taken_by = f"Error: 127.0.0.1:{port}: another program listens on this port; choose another by --port"
    assert (code, line.partition("; 0 ")[0]) == (1, taken_by)


def test_a_worker_on_a_host_of_another_machine_is_told_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, line = ended(("worker", "--host", "192.0.2.1"), monkeypatch, capsys)
    assert code == 2
    assert line.startswith("Error: --host, 192.0.2.1:50052: cannot listen there: ")
    assert line.endswith("; name an address of this machine")
