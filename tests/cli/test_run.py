"""`run` answers one prompt: from the command line, from a pipe, as text or as JSON."""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from damage import command_line

from glm_gguf.cli.given_prompts import read_prompts
from glm_gguf.cli.main import cli
from glm_gguf.cli.utf8_text import utf8_text
from glm_gguf.errors import GgufError, RequestError

FAST = ["--threads", "1", "--temperature", "0", "--max-tokens", "5"]


@pytest.fixture
def run(tiny_gguf: Callable[[str], Path]) -> Callable[..., Result]:
    def invoke(*arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(cli, ["run", str(tiny_gguf("Q8_0")), *FAST, *arguments], input=stdin)

    return invoke


def test_every_way_to_give_the_prompt_gives_the_same_answer(run: Callable[..., Result]) -> None:
    given = json.loads(run("Hello", "--json").stdout)
    assert given == json.loads(run("-", "--json", stdin="Hello").stdout)
    assert given == json.loads(run("--json", stdin="Hello").stdout)
    assert set(given) == {"content", "reasoning", "tool_calls", "finish_reason", "usage"}
    assert given["usage"]["completion_tokens"] <= 5


def test_the_answer_is_all_that_goes_to_stdout(run: Callable[..., Result]) -> None:
    result = run("Hello")
    assert result.exit_code == 0
    assert result.stdout.rstrip("\n") == json.loads(run("Hello", "--json").stdout)["content"].rstrip("\n")


def test_what_standard_input_adds_to_a_prompt_is_told(run: Callable[..., Result]) -> None:
    assert "9 characters of standard input" in run("Hello", stdin="one\ntwo\n\n").stderr
    assert "standard input" not in run("Hello", "-", stdin="one").stderr + run(stdin="one").stderr


def test_a_system_message_lengthens_the_prompt(run: Callable[..., Result]) -> None:
    plain, told = (json.loads(run("Hello", "--json", *more).stdout) for more in ([], ["--system", "Be brief."]))
    assert told["usage"]["prompt_tokens"] > plain["usage"]["prompt_tokens"]


def test_several_prompts_are_answered_in_order(run: Callable[..., Result]) -> None:
    questions = ["Hello", "What is 37 plus 58?", "你好"]
    alone = [json.loads(run(question, "--json").stdout)["content"] for question in questions]
    lines = run(*questions, "--json").stdout.splitlines()
    assert [json.loads(line)["content"] for line in lines] == alone
    piped = run("--lines", "--json", stdin="\n\n".join(questions)).stdout.splitlines()
    assert [json.loads(line)["content"] for line in piped] == alone
    shown = run(*questions)
    assert shown.stdout.split("\n")[: len(alone)] == [line for answer in alone for line in answer.split("\n")][:3]
    assert all(f"# {question}" in shown.stderr for question in questions)


def test_more_prompts_than_fit_are_answered(run: Callable[..., Result]) -> None:
    result = run("--lines", "--json", "--n-parallel", "2", stdin="Hello\n" * 80)
    assert len({json.loads(line)["content"] for line in result.stdout.splitlines()}) == 1
    assert len(result.stdout.splitlines()) == 80


def test_every_option_of_the_engine_can_be_given(run: Callable[..., Result]) -> None:
    engine = ["--cache-type-k", "q8_0", "--cache-type-v", "q8_0", "--yarn", "2", "--threads-batch", "1"]
    sampling = ["--top-k", "5", "--top-p", "0.9", "--min-p", "0.1", "--repeat-penalty", "1.1", "--seed", "1"]
    assert run("Hello", *engine, *sampling, "--n-gpu-layers", "0", "--thinking-budget", "3").exit_code == 0


@pytest.mark.parametrize("option", ["--temperature=-1", "--max-tokens=0", "--n-ctx=0", "--threads=0", "--seed=-1"])
def test_an_option_out_of_range_is_named(run: Callable[..., Result], option: str) -> None:
    result = run("Hello", option)
    assert isinstance(result.exception, RequestError)
    assert result.exception.field is not None
    assert result.exception.field.replace("_", "-") in option


def test_a_file_that_is_no_model_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_text("hello")
    result = CliRunner().invoke(cli, ["run", str(tmp_path / "x.gguf"), "Hello"])
    assert isinstance(result.exception, GgufError)


PIPED = {
    "behind the prompt": (["Say it:"], "Hello\n", "Say it:\n\nHello\n"),
    "behind each prompt": (["One", "Two"], "Hello", "One\n\nHello", "Two\n\nHello"),
    "before the prompt": (["-", "Say it."], "Hello", "Hello\n\nSay it."),
    "between two": (["This:", "-", "is what?"], "Hello", "This:\n\nHello\n\nis what?"),
    "nothing piped": (["Hello"], "", "Hello"),
    "a byte order mark": (["-"], "\ufeffHello\r\nyou", "Hello\nyou"),
}


@pytest.mark.parametrize("case", PIPED.values(), ids=PIPED.keys())
def test_a_piped_text_stands_with_the_prompt(monkeypatch: pytest.MonkeyPatch, case: tuple[list[str], str, str]) -> None:
    given, piped, *expected = case
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(piped.encode())))
    assert read_prompts(given, lines=False) == expected


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [([], ""), ([""], ""), (["  "], None), (["-"], " \n"), (["Hello", ""], ""), (["--lines"], "\n\n")],
)
def test_an_empty_prompt_is_refused(run: Callable[..., Result], arguments: list[str], stdin: str | None) -> None:
    result = run(*arguments, stdin=stdin)
    assert result.exit_code == 2
    assert "no prompt" in result.stderr


BYTES = {
    "UTF-16 of PowerShell": ("Grüße".encode("utf-16"), "byte 0 (0xff)", "UTF-16 (PowerShell's > writes it)"),
    "UTF-16 without a mark": ("Hello".encode("utf-16-le"), "byte 1 (0x00)", "UTF-16LE"),
    "Windows' Western": ("Grüße".encode("cp1252"), "byte 2 (0xfc)", "WINDOWS-1252"),
    "Windows' Chinese": ("你好，世界".encode("gb18030"), "byte 0 (0xc4)", "GB18030"),
    "no text at all": (b"\x7fELF\x02\x01\x01\0\xff", "byte 8 (0xff)", "convert it to UTF-8"),
}


@pytest.mark.parametrize(("data", "place", "guess"), BYTES.values(), ids=BYTES.keys())
def test_bytes_that_are_no_utf8_are_named_with_their_likely_encoding(data: bytes, place: str, guess: str) -> None:
    with pytest.raises(RequestError, match=re.escape(place)) as caught:
        utf8_text(data, "standard input")
    assert guess in str(caught.value)


def test_a_prompt_is_utf8_whatever_the_locale_says(
    run: Callable[..., Result], tiny_gguf: Callable[[str], Path]
) -> None:
    command = [sys.executable, "-m", "glm_gguf", "run", str(tiny_gguf("Q8_0")), *FAST, "--json", "你好"]
    ascii_only = {**os.environ, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    answered = subprocess.run(command, capture_output=True, check=True, stdin=subprocess.DEVNULL, env=ascii_only).stdout
    assert json.loads(answered) == json.loads(run("你好", "--json").stdout)


def test_a_field_is_called_by_its_option(tiny_gguf: Callable[[str], Path]) -> None:
    command = [sys.executable, "-m", "glm_gguf", "run", str(tiny_gguf("Q8_0")), "--n-ctx", "0", "Hello"]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: --n-ctx: 0 is out of range")


def test_layers_for_a_gpu_that_is_not_there_are_told(run: Callable[..., Result]) -> None:
    result = run("Hello", "--n-gpu-layers", "99", "--verbose")
    if "0 of 5 layers on a GPU" not in result.stderr:
        pytest.skip("there is a GPU")
    assert "--n-gpu-layers 99: there is no GPU here" in result.stderr


def test_pipes_work_from_end_to_end(tiny_gguf: Callable[[str], Path]) -> None:
    command = [sys.executable, "-m", "glm_gguf", "run", str(tiny_gguf("Q8_0")), *FAST]
    done = subprocess.run(command, input="你好", capture_output=True, text=True, encoding="utf-8", check=True)
    assert "Error" not in done.stderr


def test_a_standard_stream_that_is_closed_leads_nowhere(tiny_gguf: Callable[[str], Path]) -> None:
    run = f"'{sys.executable}' -m glm_gguf run '{tiny_gguf('Q8_0')}' {' '.join(FAST)}"
    for command, code, words in (
        (f"{run} <&-", 2, "no prompt"),
        (f"{run} hello <&- >&-", 0, ""),
        (f"{run} hello --verbose 2>&-", 0, ""),
    ):
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, encoding="utf-8", check=False)
        assert (done.returncode, words in done.stderr, "Traceback" in done.stderr) == (code, True, False), command


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("arguments", ["--help", "inspect MODEL", "run MODEL hello --max-tokens 2"])
def test_a_full_disk_behind_standard_output_is_one_line(tiny_gguf: Callable[[str], Path], arguments: str) -> None:
    words = [str(tiny_gguf("Q8_0")) if word == "MODEL" else word for word in arguments.split()]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "glm_gguf", *words],
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert (done.returncode, done.stderr.decode()) == (
        1,
        "Error: standard output, or a file: No space left on device\n",
    )


def test_standard_input_that_cannot_be_read_is_told(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    with (tmp_path / "written").open("wb") as file:
        command = [sys.executable, "-m", "glm_gguf", "run", str(tiny_gguf("Q8_0"))]
        done = subprocess.run(command, stdin=file, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "Error: standard input: cannot be read: Bad file descriptor\n")


def test_a_path_that_is_no_utf8_is_a_path(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/b\xff.gguf"
    os.link(tiny_gguf("Q8_0"), path)
    result = CliRunner().invoke(cli, ["run", os.fsdecode(path), "hello", *FAST])  # as Python decodes arguments
    assert (result.exit_code, result.exception) == (0, None)


@pytest.mark.parametrize(("name", "meant"), [("convrt", "convert"), ("serv", "serve"), ("Chat", "chat")])
def test_a_command_that_is_none_names_the_near_one(name: str, meant: str) -> None:
    result = CliRunner().invoke(cli, [name])
    assert result.exit_code == 2
    assert f"Did you mean {meant!r}?" in result.stderr


def test_files_that_are_not_there_are_told_before_the_prompt(run: Callable[..., Result], tmp_path: Path) -> None:
    told = str(run("--session", str(tmp_path / "new.session")).exception)
    assert "no such file" in told
    assert "chat --session makes one" in told
    missing = CliRunner().invoke(cli, ["run", str(tmp_path / "no.gguf")], input="").exception
    assert isinstance(missing, GgufError)
    (tmp_path / "m-00001-of-00002.gguf").touch()
    parts = CliRunner().invoke(cli, ["run", str(tmp_path / "m.gguf"), "Hi"]).exception
    assert "m-00001-of-00002.gguf" in str(parts)


def test_a_thinking_budget_without_effect_is_named_on_stderr(tiny_gguf: Callable[[str], Path]) -> None:
    process = command_line("run", tiny_gguf("Q8_0"), "Hello", "--thinking-budget", 5, "--max-tokens", 1)
    assert process.returncode == 0
    assert process.stderr.count("--thinking-budget) has no effect") == 1
