"""Texts of others reach the terminal as text: files, answers, workers and their clients move no cursor there."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from damage import command_line
from lending import worker
from waiting import until

from glm_gguf.llama.required_version import VERSION
from glm_gguf.workers.greeting import Greeting, greeted
from tests.gguf_file.builder import STR, U64, glm4

CLIPBOARD = "\x1b]52;c;ZXZpbA==\x07"
"""xterm's "set selection" (OSC 52): what is pasted next."""
SHOWN = r"\x1b]52;c;ZXZpbA==\x07"
ANSWER = f"""
from glm_gguf.chat.events import Finish, ReasoningDelta, TextDelta, Usage
from glm_gguf.cli.answer_view import show_answer
show_answer([ReasoningDelta("a{CLIPBOARD}"), TextDelta("b\\t{CLIPBOARD}"), Finish("stop", Usage(1, 1, 1))])
"""
"""A program that prints an answer as `run` does."""


def in_a_terminal(program: str) -> str:
    """What a program prints to a terminal."""
    ours, its = os.openpty()
    with subprocess.Popen([sys.executable, "-c", program], stdout=its, stderr=its, stdin=its) as running:
        os.close(its)
        printed = bytearray()
        with suppress(OSError):  # Linux tells the end so
            while piece := os.read(ours, 4096):
                printed += piece
        assert running.wait() == 0, printed
    os.close(ours)
    return printed.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such terminals")
def test_an_answer_is_shown_on_a_terminal_and_kept_in_a_file() -> None:
    printed = in_a_terminal(ANSWER)
    assert printed.count(SHOWN) == 2
    assert CLIPBOARD not in printed
    piped = subprocess.run([sys.executable, "-c", ANSWER], capture_output=True, text=True, check=True)
    assert piped.stdout == f"b\t{CLIPBOARD}\n"
    assert SHOWN in piped.stderr


def test_the_reason_of_a_template_is_shown(templated: Callable[[str], Path]) -> None:
    model = templated(f"{{{{ raise_exception('{CLIPBOARD}') }}}}")
    ended = command_line("run", model, "Hello", "--threads", "1")
    assert ended.returncode == 1
    assert SHOWN in ended.stderr
    assert CLIPBOARD not in ended.stderr


@pytest.fixture
def hostile_gguf(tmp_path: Path) -> Path:
    """A GGUF whose names are such sequences, and break lines."""
    model = glm4()
    name = f"{CLIPBOARD}\n"
    model.keys |= {"general.name": (STR, name), f"k{name}": (STR, name), "glm4.context_length": (U64, 32768)}
    model.tensors |= {f"x{name}": ((4,), 0), "[/red]": ((4,), 0)}
    return model.write(tmp_path / "hostile.gguf")


COMMANDS: dict[str, list[str]] = {
    "convert": ["convert", "{}", "--dry-run", "--type", "Q8_0"],
    "inspect": ["inspect", "{}", "--tensors"],
    "mend": ["mend", "{}", "--dry-run"],
    "plan": ["plan", "{}", "--no-rates"],
    "show": ["show", "{}"],
    "verify": ["verify", "{}", "--against", "{good}"],
}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_names_in_a_gguf_are_shown(name: str, hostile_gguf: Path, tmp_path: Path) -> None:
    good = glm4().write(tmp_path / "good.gguf")
    ended = command_line(*(word.format(hostile_gguf, good=good) for word in COMMANDS[name]))
    assert "\x1b" not in ended.stdout + ended.stderr
    assert not any(line.startswith(":") for line in ended.stdout.splitlines()), "a name has broken a line"
    if name not in ("mend", "plan"):  # they print none of these names
        assert SHOWN in ended.stdout + ended.stderr


WARNING = f"""
import logging, sys
from glm_gguf.cli import main
from glm_gguf.cli.config import show
show.callback = lambda **given: logging.getLogger("glm_gguf").warning("a page of %s", {CLIPBOARD!r})
sys.argv = ["glm-gguf", "config", "show"]
main.main()
"""


def test_warnings_of_the_library_are_shown() -> None:
    printed = subprocess.run([sys.executable, "-c", WARNING], capture_output=True, text=True, check=True)
    assert printed.stderr == f"a page of {SHOWN}\n"


def test_a_field_of_a_batch_is_shown(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(
        '{"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {}, "\\u001b]0;x\\u0007": 1}\n' * 2
    )
    ended = command_line("batch", tiny_gguf("Q8_0"), tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    assert ended.returncode == 1
    assert ended.stderr.count(r"\x1b]0;x\x07") == 2
    assert "\x1b" not in ended.stderr


def test_the_farewell_of_a_client_is_shown_by_the_worker() -> None:
    with worker() as lender:
        host, _, port = lender.address.rpartition(":")
        with socket.create_connection((host, int(port))) as client:
            greeted(client, Greeting(VERSION))
            client.sendall(CLIPBOARD.encode())
            client.shutdown(socket.SHUT_WR)
            until(lambda: any("has left" in line for line in lender.lines))
        assert any(SHOWN in line for line in lender.lines)
        assert not any("\x1b" in line for line in lender.lines)
