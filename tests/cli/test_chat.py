"""`chat` talks line by line; a turn that is stopped leaves no trace."""

import io
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from glm_gguf import GLM, EngineOptions, RunOptions, SamplingParams
from glm_gguf.chat.events import (
    ChatResult,
    Event,
    Finish,
    PrefillProgress,
    ReasoningDelta,
    TextDelta,
    ToolCall,
    ToolCallCut,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from glm_gguf.chat.tools import Toolbox
from glm_gguf.cli.answer_view import show_answer
from glm_gguf.cli.conversation import Conversation
from glm_gguf.cli.error_line import error_line
from glm_gguf.cli.main import cli
from glm_gguf.cli.slash_commands import COMMANDS
from glm_gguf.errors import OutputError, RequestError

FAST = ["--threads", "1", "--temperature", "0", "--max-tokens", "5"]
TOOLS = '''
import json
import re
from pathlib import Path

def get_weather(city: str) -> str:
    """Weather of a city."""
    return "sunny"

def _hidden() -> None:
    pass
'''


@pytest.fixture
def chat(tiny_gguf: Callable[[str], Path]) -> Callable[..., Result]:
    def invoke(lines: str, *arguments: str) -> Result:
        return CliRunner().invoke(cli, ["chat", str(tiny_gguf("Q8_0")), *FAST, *arguments], input=lines)

    return invoke


@pytest.mark.parametrize("lines", ["Hello\n", "Hello", "Hello\n/exit\nnot read\n", "\n  \nHello\n"], ids=ascii)
def test_every_line_is_answered_until_the_end(chat: Callable[..., Result], lines: str) -> None:
    result = chat(lines)
    assert result.exit_code == 0
    assert result.stderr.startswith("chat model, ")
    assert result.stdout == chat("Hello\n").stdout


def test_a_reset_begins_anew(chat: Callable[..., Result]) -> None:
    once = chat("Hello\n").stdout
    assert chat("Hello\n/reset\nHello\n").stdout == once * 2


@pytest.mark.parametrize(
    "lines", ["Hel\\\nlo\n", '"""\nHel\nlo\n"""\n', '"""\nHel\nlo'], ids=["backslash", "block", "block cut off"]
)
def test_a_text_may_have_several_lines(chat: Callable[..., Result], tmp_path: Path, lines: str) -> None:
    path = tmp_path / "t.json"
    assert chat(lines, "--transcript", str(path)).exit_code == 0
    assert json.loads(path.read_text())[0]["content"] == "Hel\nlo"


def test_a_conversation_is_saved_and_gone_on_with(chat: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    first = chat(f"/system Be brief.\nHello\n/save {path}\n/undo\n/save {path}2\n")
    messages = json.loads(path.read_text())
    assert [message["role"] for message in messages] == ["system", "user", "assistant"]
    assert messages[2]["content"] == first.stdout.rstrip("\n")
    assert len(json.loads(Path(f"{path}2").read_text())) == 1
    again = chat(f"/load {path}\nHello\n/save {path}\n")
    assert again.exit_code == 0
    assert len(json.loads(path.read_text())) == 5


def test_a_saved_message_without_a_text_can_be_undone(chat: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    nothing = {"role": "user", "content": [{"type": "text", "text": None}, {"type": "text", "text": "Hi"}]}
    path.write_text(json.dumps([nothing, {"role": "assistant", "content": "Hello"}]))
    result = chat("/undo\n", "--transcript", str(path))
    assert result.exit_code == 0
    assert 'removed "Hi" (2 messages)' in result.stderr


def test_a_saved_half_of_a_character_is_replaced(chat: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text('[{"role": "user", "content": "hi \\ud83d"}, {"role": "assistant", "content": "\\ud83d"}]')
    assert chat("Hello\n", "--transcript", str(path)).exit_code == 0
    assert [message["content"] for message in json.loads(path.read_text())[:2]] == ["hi \ufffd", "\ufffd"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("/what", "no such command"),
        ("/save", "no file is named"),
        ("/load /no/such/file", "cannot be read"),
        ("/save /no/such/file", "cannot be written"),
        (f"/save {'a' * 300}", "cannot be written"),
        (f"/session {'a' * 300}", "cannot be written"),
        (f"/load {'a' * 300}", "cannot be read"),
        ("/load {tmp}/bad.json", "no JSON"),
        ("/load {tmp}/list.json", "role"),
        ("/load {tmp}/text.json", "no list"),
    ],
)
def test_a_command_that_fails_says_why(chat: Callable[..., Result], tmp_path: Path, line: str, reason: str) -> None:
    for name, text in (("bad", "{"), ("list", '[{"role": "wizard"}]'), ("text", '"x"')):
        (tmp_path / f"{name}.json").write_text(text)
    result = chat(f"{line.format(tmp=tmp_path)}\nHello\n")
    assert reason in result.stderr
    assert result.stdout == chat("Hello\n").stdout


def test_a_session_that_is_not_there_is_made(chat: Callable[..., Result], tmp_path: Path) -> None:
    options = ("--system", "Be brief.", "--session", str(tmp_path / "s.session"))
    first, second = chat("Hello\n", *options), chat("Hello\n", *options)
    assert first.stdout == second.stdout
    assert "warning" not in second.stderr
    assert "0 of them cached" not in second.stderr


def test_a_session_is_saved_and_begun_with(chat: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "s.session"
    assert chat(f"/system Be brief.\n/session {path}\n").exit_code == 0
    result = chat("Hello\n", "--system", "Be brief.", "--session", str(path))
    assert "0 of them cached" not in result.stderr
    path.write_bytes(b"garbage")
    assert "no session file" in chat("Hello\n", "--session", str(path)).stderr


SAID = {
    "nothing to undo": ("/undo\n", "Error: there is nothing to undo; write a message first"),
    "the context after the last turn is removed": (
        "Hello\n/undo\n/show\n",
        "context  0 of 4,096 tokens, 0%, 0 messages",
    ),
    "the context of a new conversation": ("Hello\n/reset\n/show\n", "context  0 of 4,096 tokens, 0%, 0 messages"),
    "nothing to edit": ("/edit\n", "Error: there is no message yet; write one first"),
    "an editor over a pipe": ("Hello\n/edit\n", "Error: /edit: an editor needs a terminal; /undo removes the message"),
    "a command that is near no other": ("/nope\n", "/nope: there is no such command; /help lists the commands"),
    "what was undone": ("Hello\n/undo\n", 'removed "Hello" (2 messages)'),
    "a conversation saved": ("Hello\n/save {tmp}/new.json\n", "saved 2 messages to "),
    "a file that is there": ("Hello\n/save {tmp}/old.txt\n", "the file exists already"),
    "a parameter set": ("/set temperature 0.5\n", "temperature        0.5\n"),
    "a parameter given back": ("/set max_tokens default\n", "max_tokens         default\n"),
    "texts that end an answer": ('/set stop ["a", "b"]\n', 'stop               ["a", "b"]\n'),
    "a parameter out of range": ("/set top_p 2\n", "Error: --top-p: 2 is out of range; give 0 to 1"),
    "a parameter of another type": ("/set top_k few\n", "'few' is not a whole number"),
    "a parameter beyond any number": (f"/set temperature 1{'0' * 400}\n", "is not a number"),
    "a parameter of brackets": (f"/set temperature {'[' * 20_000}\n", "is not a number"),
    "a parameter misspelt": ("/set temprature 1\n", "did you mean temperature?"),
    "a command misspelt": ("/sav x\n", "did you mean /save?"),
    "no tools": ("/tools\n", "none; --tools FILE.py"),
    "nothing to retry": ("/retry\n", "there is no message yet"),
    "where it is computed": ("/show\n", "0 of 5 layers on a GPU"),
    "what is in force": ("/set seed 7\n/show\n", "seed 7"),
    "a file attached": ("/file {tmp}/old.txt\n", "4 characters go before your next message"),
    "a file that is no text": ("/file {tmp}/utf16.txt\n", "looks like UTF-16 (PowerShell's > writes it)"),
    "how full the context is": ("Hello\n", "context 11 of 4,096 tokens, 0%"),
}


@pytest.mark.parametrize(("lines", "told"), SAID.values(), ids=SAID.keys())
def test_a_command_says_what_it_did(chat: Callable[..., Result], tmp_path: Path, lines: str, told: str) -> None:
    (tmp_path / "old.txt").write_text("Hi!\n")
    (tmp_path / "utf16.txt").write_text("Hi!\n", "utf-16")
    assert told in chat(lines.format(tmp=tmp_path)).stderr
    assert (tmp_path / "old.txt").read_text() == "Hi!\n"


@pytest.mark.parametrize("name", ["/exit", "/bye", "/quit"])
def test_every_word_for_leaving_leaves(chat: Callable[..., Result], name: str) -> None:
    assert chat(f"{name}\nHello\n").stdout == ""


def messages_of(chat: Callable[..., Result], tmp_path: Path, lines: str) -> list[dict[str, Any]]:
    path = tmp_path / "t.json"
    assert chat(lines, "--transcript", str(path)).exit_code == 0
    return json.loads(path.read_text())


def test_a_path_is_no_command(chat: Callable[..., Result], tmp_path: Path) -> None:
    assert messages_of(chat, tmp_path, "/usr/bin/env\n")[0]["content"] == "/usr/bin/env"


def test_a_file_goes_before_the_message(chat: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("Hi!\r\n", newline="")
    said = messages_of(chat, tmp_path, f"/file {tmp_path}/notes.txt\nHello\nHello\n")
    assert [message["content"] for message in said[::2]] == ["notes.txt:\n\nHi!\n\n\nHello", "Hello"]


def test_a_message_is_answered_anew(chat: Callable[..., Result], tmp_path: Path) -> None:
    once = messages_of(chat, tmp_path, "Hello\n/exit\n")
    (tmp_path / "t.json").unlink()
    assert messages_of(chat, tmp_path, "Hello\n/set max_tokens 2\n/retry\n")[0] == once[0]
    assert len(json.loads((tmp_path / "t.json").read_text())) == 2


def test_the_oldest_turns_go_when_that_is_wanted(chat: Callable[..., Result]) -> None:
    long = "word " * 12 + "\n"
    full = chat(long * 4, "--n-ctx", "128")
    assert "/drop removes the oldest turns" in full.stderr
    assert "Error: messages: " in full.stderr
    assert "warning: 8" in full.stderr or "warning: 9" in full.stderr
    assert "Error" not in chat("/drop\n" + long * 4, "--n-ctx", "128").stderr


class Removing(io.BytesIO):
    """Lines whose reader loses a directory."""

    def __init__(self, lines: str, directory: Path) -> None:
        super().__init__(lines.encode())
        self._directory = directory

    def read1(self, size: int | None = -1, /) -> bytes:
        if self._directory.exists():
            self._directory.rmdir()
        return super().read1(size)


def test_a_transcript_that_cannot_be_written_ends_no_conversation(
    tiny_gguf: Callable[[str], Path], tmp_path: Path
) -> None:
    path, directory = tmp_path / "saved.json", tmp_path / "gone"
    directory.mkdir()
    command = ["chat", str(tiny_gguf("Q8_0")), *FAST, "--transcript", str(directory / "t.json")]
    result = CliRunner().invoke(cli, command, input=Removing(f"Hello\n/save {path}\n", directory))
    assert result.exit_code == 0
    assert result.stderr.count("Error: ") == 2
    assert len(json.loads(path.read_text())) == 2


def test_piped_bytes_that_are_no_utf8_are_one_error(tiny_gguf: Callable[[str], Path]) -> None:
    result = CliRunner().invoke(cli, ["chat", str(tiny_gguf("Q8_0")), *FAST], input="Grüße\n".encode("utf-16"))
    assert isinstance(result.exception, RequestError)
    told = error_line(result.exception)
    assert told.startswith("Error: standard input: byte 0 (0xff) is not UTF-8 text; it looks like UTF-16")


def test_quiet_shows_answers_alone(chat: Callable[..., Result]) -> None:
    assert chat("Hello\n", "--quiet").stderr == "(cut after 5 tokens)\n"


@pytest.mark.parametrize("option", ["--transcript", "--session"])
def test_a_file_that_could_not_be_written_is_told_before_the_first_turn(
    chat: Callable[..., Result], tmp_path: Path, option: str
) -> None:
    result = chat("Hello\n", option, str(tmp_path / "none" / "t"))
    assert isinstance(result.exception, OutputError)
    assert result.stdout == ""


def test_help_lists_the_commands(chat: Callable[..., Result]) -> None:
    listed = chat("/help\n").stderr
    assert all(name in listed for name in COMMANDS)
    assert all(f"\n/{name}" in listed for name in ("system [TEXT]", "set [NAME [VALUE]]", "file FILE", "session FILE"))


def test_what_is_loaded_counts(chat: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    shown = chat(f"Hello\nHello\n/save {path}\n/undo\n/show\n/load {path}\n/show\n").stderr
    after_undo, loaded = (int(count) for count in re.findall(r"context  (\d+) of", shown))
    assert 0 < after_undo < loaded


def test_an_error_ends_the_turn_and_not_the_program(chat: Callable[..., Result]) -> None:
    result = chat("word " * 9000 + "\nHello\n", "--n-ctx", "512")
    assert "Error: messages: " in result.stderr
    assert result.exit_code == 0
    assert result.stdout == chat("Hello\n").stdout


def test_the_functions_of_a_file_are_declared(chat: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "tools.py"
    path.write_text(TOOLS)
    assert chat("Hello\n", "--tools", str(path)).exit_code == 0


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("x = 1", "no public function"),
        ("1 / 0", "ZeroDivisionError"),
        ("def f(", "SyntaxError"),
        (None, "no such file"),
    ],
    ids=["nothing in it", "fails", "no Python", "no file"],
)
def test_a_file_without_functions_is_refused(
    chat: Callable[..., Result], tmp_path: Path, source: str | None, reason: str
) -> None:
    path = tmp_path / "tools.py"
    if source is not None:
        path.write_text(source)
    result = chat("Hello\n", "--tools", str(path))
    assert isinstance(result.exception, RequestError)
    assert reason in str(result.exception)


class Interrupting:
    """A display that the user interrupts at the first word."""

    def answer(self, events: Iterable[Event]) -> ChatResult:
        next(iter(events))
        raise KeyboardInterrupt

    def observation(self, call: ToolCall, text: str) -> None:
        raise AssertionError


class Reading:
    """A display that shows the whole answer."""

    def answer(self, events: Iterable[Event]) -> ChatResult:
        return show_answer(events)

    def observation(self, call: ToolCall, text: str) -> None:
        pass


@pytest.fixture
def conversation(tiny_gguf: Callable[[str], Path]) -> Iterator[Conversation]:
    with GLM(tiny_gguf("Q8_0"), options=EngineOptions(threads=1)) as glm:
        yield Conversation(glm, Toolbox.of([]), SamplingParams(temperature=0, max_tokens=30), "Be brief.")


def test_what_was_said_of_an_answer_that_is_stopped_is_kept(conversation: Conversation) -> None:
    whole = conversation.ask("Hello", Reading()).content
    conversation.reset()
    with pytest.raises(KeyboardInterrupt):
        conversation.ask("Hello", Interrupting())
    _, question, answer = conversation.messages
    assert question == {"role": "user", "content": "Hello"}
    assert answer["content"]
    assert whole.startswith(answer["content"])
    conversation.ask("Hello", Reading())
    assert [message["role"] for message in conversation.messages] == [
        "system",
        "user",
        "assistant",
        "user",
        "assistant",
    ]


def test_a_turn_in_which_nothing_was_said_is_forgotten(conversation: Conversation) -> None:
    class InterruptingFirst(Interrupting):
        def answer(self, events: Iterable[Event]) -> ChatResult:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        conversation.ask("Hello", InterruptingFirst())
    assert conversation.messages == [{"role": "system", "content": "Be brief."}]
    conversation.ask("Hello", Reading())
    before = list(conversation.messages)
    with pytest.raises(KeyboardInterrupt):
        conversation.ask_again("Hi", InterruptingFirst())
    assert conversation.messages == before


def test_calls_that_were_stopped_are_no_part_of_the_conversation(tiny_gguf: Callable[[str], Path]) -> None:
    def get_weather(city: str) -> str:
        """Weather of a city."""
        return "sunny"

    def stop(call: ToolCall) -> bool:
        raise KeyboardInterrupt

    with GLM(tiny_gguf("Q8_0"), options=EngineOptions(threads=1)) as glm:
        sampling = SamplingParams(temperature=0, max_tokens=60)
        conversation = Conversation(glm, Toolbox.of([get_weather]), sampling, options=RunOptions(approve=stop))
        with pytest.raises(KeyboardInterrupt):
            conversation.ask("What is the weather in Paris?", Reading())
        assert conversation.messages == []


STREAMS: dict[str, tuple[list[Event], str, str]] = {
    "an answer": ([TextDelta("a"), TextDelta("b"), Finish("stop")], "ab\n", ""),
    "an answer that ends its line": ([TextDelta("a\n"), Finish("stop")], "a\n", ""),
    "a thought before it": ([ReasoningDelta("Hm"), TextDelta("a"), Finish("stop")], "a\n", "Hm\n"),
    "a call": (
        [TextDelta("a"), ToolCallStart(0, "f"), ToolCallDelta(0, "{}"), Finish("tool_calls")],
        "a\n",
        "→ f {}\n",
    ),
    "a call in pieces": (
        [ToolCallStart(0, "f"), ToolCallDelta(0, "{"), ToolCallDelta(0, "}"), ToolCallStart(1, "g")],
        "",
        "→ f {}\n→ g ",
    ),
    "a call taken back": (
        [ToolCallStart(0, "f"), ToolCallDelta(0, "{"), ToolCallCut(0), TextDelta("f\n{"), Finish("length")],
        "f\n{\n",
        "→ f {\n(the call was cut off and does not count)\n(cut after 0 tokens)\n",
    ),
    "an answer cut": ([TextDelta("a"), Finish("length", Usage(1, 0, 5))], "a\n", "(cut after 5 tokens)\n"),
}


@pytest.mark.parametrize(("events", "stdout", "stderr"), STREAMS.values(), ids=STREAMS.keys())
def test_only_the_answer_goes_to_stdout(
    events: list[Event], stdout: str, stderr: str, capsys: pytest.CaptureFixture[Any]
) -> None:
    show_answer(events)
    assert capsys.readouterr() == (stdout, stderr)


@pytest.fixture
def approving(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> list[str]:
    """The words of a chat that asks before calls; its standard input is shared by lines and questions."""
    (tmp_path / "tools.py").write_text(TOOLS)
    options = ["--max-tokens", "20", "--approve", "--tools", str(tmp_path / "tools.py")]
    return ["chat", str(tiny_gguf("Q8_0")), *FAST[:4], *options]


@pytest.mark.parametrize(("answer", "observed"), [("y", "← sunny"), ("n", "was not approved")])
def test_a_call_runs_only_when_it_is_approved(approving: list[str], answer: str, observed: str) -> None:
    result = CliRunner().invoke(cli, approving, input=f"What is the weather in Paris?\n{answer}\n")
    assert '→ get_weather {"city": "Paris"}\n' in result.stderr
    assert 'run get_weather({"city": "Paris"})?' in result.stderr
    assert observed in result.stderr


def test_a_function_that_is_always_approved_is_asked_for_once(approving: list[str]) -> None:
    ask = "What is the weather in Paris?\n"
    result = CliRunner().invoke(cli, approving, input=f"{ask}always\n/reset\n{ask}/tools\n")
    assert result.stderr.count("run get_weather") == 1
    assert result.stderr.count("← sunny") >= 2
    assert "get_weather(city)  Weather of a city." in result.stderr


def test_a_question_left_unanswered_stops_the_turn(approving: list[str]) -> None:
    """In a process of its own, whose standard input really ends."""
    command = [sys.executable, "-m", "glm_gguf", *approving]
    ask = "What is the weather in Paris?\n"
    result = subprocess.run(command, input=ask, capture_output=True, text=True, check=True)
    assert "this turn is removed" in result.stderr
    assert "←" not in result.stderr


def test_commands_that_cannot_be_obeyed_are_told(chat: Callable[..., Result], tmp_path: Path) -> None:
    told = chat(f"/quit2\n/save {tmp_path}\n", "--quiet").stderr
    assert "/quit2: there is no such command" in told
    assert f"{tmp_path}: this is a directory" in told


def test_few_tokens_have_no_rate(chat: Callable[..., Result]) -> None:
    ignoring = "/set ignore_eos true\n/set max_tokens {}\nHello\n"
    assert "/s;" not in chat(ignoring.format(5)).stderr
    assert "/s;" in chat(ignoring.format(40)).stderr


def test_the_progress_of_a_prefill_is_a_line_that_the_answer_clears(capsys: pytest.CaptureFixture[str]) -> None:
    show_answer([PrefillProgress(1000, 4000, 0), PrefillProgress(4000, 4000, 0), TextDelta("Hi"), Finish("stop")])
    shown = capsys.readouterr()
    assert shown.out == "Hi\n"
    assert "prompt: 1,000 of 4,000 tokens (25 %), 0 cached" in shown.err
    assert shown.err.endswith("\r")  # and "erase in line" on a terminal
