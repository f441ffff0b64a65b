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
            [*arguments, "--transcript", str(self.transcript), *(options or ("--max-tokens", "5"))],
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

    def leave(self) -> list[str]:
        """Leave by Ctrl-D; the texts of the conversation's user."""
        self.child.sendcontrol("d")
        self.child.expect(pexpect.EOF)
        self.child.close()
        assert self.child.exitstatus == 0
        if not self.transcript.exists():
            return []
        return [message["content"] for message in json.loads(self.transcript.read_text()) if message["role"] == "user"]


@pytest.fixture
def start(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    begun: list[Terminal] = []

    def terminal(*options: str) -> Terminal:
        begun.append(Terminal(tiny_gguf("Q8_0"), tmp_path, *options))
        return begun[-1]

    yield terminal
    for one in begun:
        one.child.close(force=True)


def pasted(text: str) -> str:
    """What a terminal sends for a text that is pasted (bracketed paste)."""
    return f"\x1b[200~{text}\x1b[201~"


def test_a_pasted_text_is_one_message_and_comes_back_whole_from_history(start: Callable[..., Terminal]) -> None:
    terminal = start()
    terminal.type(pasted("one\rtwo\rthree") + "\r")
    assert terminal.leave() == ["one\ntwo\nthree"]
    terminal = start()
    terminal.type("\x1b[A\r")
    assert terminal.leave() == ["one\ntwo\nthree"] * 2


def test_a_text_of_several_lines_can_be_typed(start: Callable[..., Terminal]) -> None:
    terminal = start()
    for keys in ("one\x1b\rtwo\r", "one\\\rtwo\r", '"""\rone\rtwo\r"""\r'):  # Alt-Enter, backslash, quotes
        terminal.type(keys)
    assert terminal.leave() == ["one\ntwo"] * 3


def test_ctrl_c_at_the_prompt_gives_a_new_line(start: Callable[..., Terminal]) -> None:
    terminal = start()
    terminal.type("abc\x03", then="\r\n")
    terminal.type("Hello\r")
    assert terminal.leave() == ["Hello"]


def test_ctrl_c_in_an_answer_keeps_what_was_said(start: Callable[..., Terminal]) -> None:
    terminal = start("--repeat-penalty", "100", *("--yarn", "4", "--n-ctx", "16384"))  # room that is not soon full
    terminal.type("/set ignore_eos true\r", then="true")
    terminal.child.send("Tell me everything\r")
    terminal.child.expect("tokens/s")  # the title of the terminal: words come
    terminal.type("\x03", then="the part that was written stays; /undo removes it")
    assert terminal.leave() == ["Tell me everything"]
    assert json.loads(terminal.transcript.read_text())[1]["content"]


def test_every_line_typed_ahead_stands_by_itself(start: Callable[..., Terminal]) -> None:
    terminal = start("--repeat-penalty", "100", "--max-tokens", "100")
    terminal.type("/set ignore_eos true\r", then="true")
    terminal.child.send("Tell me everything\r")
    terminal.child.expect("tokens/s")  # the title of the terminal: words come
    terminal.child.send("/set seed 7\r/undo\rHello\r")
    terminal.child.expect("seed +7")
    terminal.child.expect('removed "Tell me everything"')
    terminal.child.expect("context [0-9]+ of")
    terminal.child.expect(READY)
    assert terminal.leave() == ["Hello"]


def test_tab_completes_and_an_editor_opens(start: Callable[..., Terminal]) -> None:
    terminal = start()
    terminal.child.send("/und\t")
    terminal.child.expect("o ?")
    terminal.type("\r", then="nothing to undo")
    terminal.type("Good day\r")
    terminal.type("/edit\r")
    terminal.child.send("\x18\x05")  # Ctrl-X Ctrl-E
    terminal.child.expect("Hello")
    terminal.type("\r")
    assert terminal.leave() == ["Hello", "Hello"]


def test_a_file_is_written_over_only_when_that_is_wanted(start: Callable[..., Terminal], tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text("old")
    terminal = start()
    terminal.type("Hello\r")
    terminal.child.send(f"/save {tmp_path}/old.json\r")
    terminal.child.expect("replace it")
    terminal.type("n\r", then="nothing was written")
    assert (tmp_path / "old.json").read_text() == "old"
    terminal.child.send(f"/save {tmp_path}/old.json\r")
    terminal.child.expect("replace it")
    terminal.type("y\r", then="saved 2 messages")
    assert terminal.leave() == ["Hello"]


def test_a_full_context_offers_to_drop_the_oldest_turns(start: Callable[..., Terminal]) -> None:
    terminal = start("--n-ctx", "128", "--max-tokens", "5")
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
