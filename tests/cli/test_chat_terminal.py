"""`chat` in a terminal: texts are typed, pasted, completed, edited and stopped as in any good editor."""

import json
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from glm_gguf.cli.slash_commands import completions
from glm_gguf.cli.typed_input import SlashCompleter

WITHIN = 60
"""Seconds that a busy machine may take."""
READY = r"\x1b\[\?2004h"
"""A prompt begins: pasted texts come in brackets from here on."""


class Terminal:
    """A chat with the tiny model, and what it had written of the conversation."""

    def __init__(self, gguf: Path, directory: Path, *options: str) -> None:
        self.transcript = directory / "t.json"
        (directory / "edit").write_text('#!/bin/sh\necho Hello > "$1"\n')
        (directory / "edit").chmod(stat.S_IRWXU)
        environment = {
            **os.environ,
            "XDG_STATE_HOME": str(directory / "state"),
            "VISUAL": str(directory / "edit"),
            "PROMPT_TOOLKIT_NO_CPR": "1",  # nobody answers where the cursor is
            "TERM": "xterm",
        }
        arguments = ["-m", "glm_gguf", "chat", str(gguf), "--threads", "1", "--temperature", "0"]
        self.child = pexpect.spawn(
            sys.executable,
            [*arguments, "--transcript", str(self.transcript), *options],
            env=environment,
            encoding="utf-8",
            timeout=WITHIN,
            dimensions=(40, 120),
        )
        self.child.delaybeforesend = None
        self.child.expect("GPU")
        self.child.expect(READY)

    def type(self, keys: str, then: str = "context [0-9]+ of") -> None:
        self.child.send(keys)
        self.child.expect(then)
        self.child.expect(READY)

    @property
    def asked(self) -> list[str]:
        """The texts of the conversation's user; the transcript is written before the next prompt."""
        if not self.transcript.exists():
            return []
        return [message["content"] for message in json.loads(self.transcript.read_text()) if message["role"] == "user"]

    def leave(self) -> list[str]:
        """Leave by Ctrl-D; the texts of the conversation's user."""
        self.child.sendcontrol("d")
        self.child.expect(pexpect.EOF)
        self.child.close()
        assert self.child.exitstatus == 0
        return self.asked


@pytest.fixture(scope="module")
def process(tiny_gguf: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """One chat for all tests that need no options of their own; it has room that is not soon full."""
    terminal = Terminal(tiny_gguf("Q8_0"), tmp_path_factory.mktemp("chat"), *("--yarn", "4", "--n-ctx", "16384"))
    yield terminal
    terminal.leave()


@pytest.fixture
def terminal(process: Terminal) -> Terminal:
    """A new conversation with short answers."""
    for command, then in (
        ("/reset", "a new conversation"),
        ("/set max_tokens 5", "max_tokens +5"),
        ("/set ignore_eos default", "ignore_eos +default"),
        ("/set repeat_penalty default", "repeat_penalty"),
    ):
        process.type(f"{command}\r", then)
    return process


def pasted(text: str) -> str:
    """What a terminal sends for a text that is pasted (bracketed paste)."""
    return f"\x1b[200~{text}\x1b[201~"


def test_a_pasted_text_is_one_message_and_comes_back_whole_from_history(
    terminal: Terminal, tiny_gguf: Callable[[str], Path]
) -> None:
    terminal.type(pasted("one\rtwo\rthree") + "\r")
    assert terminal.asked == ["one\ntwo\nthree"]
    later = Terminal(tiny_gguf("Q8_0"), terminal.transcript.parent, "--max-tokens", "5")
    later.type("\x1b[A\r")
    assert later.leave() == ["one\ntwo\nthree"] * 2


def test_a_text_of_several_lines_can_be_typed(terminal: Terminal) -> None:
    for keys in ("one\x1b\rtwo\r", "one\\\rtwo\r", '"""\rone\rtwo\r"""\r'):  # Alt-Enter, backslash, quotes
        terminal.type(keys)
    assert terminal.asked == ["one\ntwo"] * 3


def test_typed_bytes_that_are_no_text_are_replaced(terminal: Terminal) -> None:
    os.write(terminal.child.child_fd, b"/system caf\xe9\r")
    terminal.type("", "with this system message")
    assert json.loads(terminal.transcript.read_text()) == [{"role": "system", "content": "caf\ufffd"}]
    terminal.type("/system\r", "without a system message")


def test_ctrl_c_at_the_prompt_gives_a_new_line(terminal: Terminal) -> None:
    terminal.type("abc\x03", then="\r\n")
    terminal.type("Hello\r")
    assert terminal.asked == ["Hello"]


def test_ctrl_c_in_an_answer_keeps_what_was_said(terminal: Terminal) -> None:
    terminal.type("/set repeat_penalty 100\r", then="repeat_penalty +100")
    terminal.type("/set max_tokens default\r", then="max_tokens +default")
    terminal.type("/set ignore_eos true\r", then="true")
    terminal.child.send("Tell me everything\r")
    terminal.child.expect("tokens/s")  # the title of the terminal: words come
    terminal.type("\x03", then="the part that was written stays; /undo removes it")
    assert terminal.asked == ["Tell me everything"]
    assert json.loads(terminal.transcript.read_text())[1]["content"]


def test_every_line_typed_ahead_stands_by_itself(terminal: Terminal) -> None:
    terminal.type("/set repeat_penalty 100\r", then="repeat_penalty +100")
    terminal.type("/set max_tokens 100\r", then="max_tokens +100")
    terminal.type("/set ignore_eos true\r", then="true")
    terminal.child.send("Tell me everything\r")
    terminal.child.expect("tokens/s")  # the title of the terminal: words come
    terminal.child.send("/set seed 7\r/undo\rHello\r")
    terminal.child.expect("seed +7")
    terminal.child.expect('removed "Tell me everything"')
    terminal.child.expect("context [0-9]+ of")
    terminal.child.expect(READY)
    assert terminal.asked == ["Hello"]


def test_tab_completes_and_an_editor_opens(terminal: Terminal) -> None:
    terminal.child.send("/und\t")
    terminal.child.expect("o ?")
    terminal.type("\r", then="nothing to undo")
    terminal.type("/edit\r", then="there is no message yet")
    terminal.type("Good day\r")
    terminal.type("/edit\r")
    terminal.child.send("\x18\x05")  # Ctrl-X Ctrl-E
    terminal.child.expect("Hello")
    terminal.type("\r")
    assert terminal.asked == ["Hello", "Hello"]


def test_a_file_is_written_over_only_when_that_is_wanted(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text("old")
    terminal.type("Hello\r")
    terminal.child.send(f"/save {tmp_path}/old.json\r")
    terminal.child.expect("replace it")
    terminal.type("n\r", then="nothing was written")
    assert (tmp_path / "old.json").read_text() == "old"
    terminal.child.send(f"/save {tmp_path}/old.json\r")
    terminal.child.expect("replace it")
    terminal.type("y\r", then="saved 2 messages")
    assert terminal.asked == ["Hello"]


def test_a_full_context_offers_to_drop_the_oldest_turns(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    terminal = Terminal(tiny_gguf("Q8_0"), tmp_path, "--n-ctx", "128", "--max-tokens", "5")
    text = "word " * 12
    terminal.type(f"{text}\r")
    terminal.child.send(f"{text}\r")
    terminal.child.expect("drop the oldest turns")
    terminal.type("y\r", then="\r\n")
    for _ in range(3):
        terminal.type(f"{text}\r")
    assert len(terminal.leave()) == 5


COMPLETED = {
    "/": {"/help", "/retry", "/bye", "/clear"},
    "/se": {"/set", "/session"},
    "/set top_": {"top_k", "top_p"},
    "/file {tmp}/no": {"tes.txt"},
    "Hello /se": set(),
    "/undo x": set(),
}


@pytest.mark.parametrize(("text", "expected"), COMPLETED.items(), ids=COMPLETED.keys())
def test_what_may_stand_at_the_cursor_is_offered(tmp_path: Path, text: str, expected: set[str]) -> None:
    (tmp_path / "notes.txt").touch()
    document = Document(text.format(tmp=tmp_path))
    offered = {found.text for found in SlashCompleter(completions()).get_completions(document, CompleteEvent())}
    assert offered >= expected
    assert bool(offered) == bool(expected)
