"""`glm-gguf inspect`: readable, complete as JSON, and never a traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from glm_gguf.cli.inspect import PROBLEM_EXIT, command
from glm_gguf.errors import GgufError
from tests.gguf_file.builder import STR, TEMPLATE, U32, Model, glm4, head


def inspect(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def run(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command's entry point in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "glm_gguf", "inspect", *map(str, arguments)],
        cwd=Path(__file__).parents[2],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_good_file_is_described(tmp_path: Path) -> None:
    result = inspect(glm4().write(tmp_path / "good.gguf"))
    assert result.exit_code == 0
    for piece in (
        "Tiny GLM",
        "architecture      glm4",
        "variant           chat",
        "tensors           29 in 2.85 kB",
        "weights           1,320",
        "KV cache          32 bytes a token at f16",
        "glm4.block_count                         u32           2",
        "tokenizer.ggml.tokens                    [str, 16]     t0, t1, t2, t3",
        "Nothing is wrong with this file.",
    ):
        assert piece in result.output
    assert "blk.0" not in result.output


def test_no_line_is_wider_than_the_screen(tmp_path: Path) -> None:
    model = glm4()
    model.keys |= {
        "general.description": (STR, "多语言" * 100),
        "x." + "long" * 12: (STR, "w" * 300),
        "split.by.someone.with.a.very.long.key.but.not.too.long": (U32, 1),
    }
    model.keys["glm4.rope.dimension_count"] = (U32, 4)
    result = inspect("--tensors", model.write(tmp_path / "wide.gguf"))
    lines = result.output.splitlines()[1:]
    assert max(len(line) + sum(ord(character) > 0x2E7F for character in line) for line in lines) <= 80


def test_tensors_are_listed_on_request(tmp_path: Path) -> None:
    result = inspect("--tensors", glm4().write(tmp_path / "good.gguf"))
    assert "blk.1.ffn_up.weight                  bf16                8 x 24     384 bytes" in result.output


def test_json_is_one_object(tmp_path: Path) -> None:
    result = inspect("--json", glm4().write(tmp_path / "good.gguf"))
    assert result.exit_code == 0
    made = json.loads(result.output)
    assert (made["variant"], made["findings"]) == ("chat", [])
    assert made["chat_template"] == TEMPLATE


def test_the_template_alone_is_printed_as_it_is(tmp_path: Path) -> None:
    result = inspect("--template", glm4().write(tmp_path / "good.gguf"))
    assert result.output == TEMPLATE + "\n"


def test_a_model_without_template_has_none_to_print(tmp_path: Path) -> None:
    model = glm4()
    del model.keys["tokenizer.chat_template"]
    result = inspect("--template", model.write(tmp_path / "base.gguf"))
    assert isinstance(result.exception, GgufError)


@pytest.mark.parametrize("option", [[], ["--json"]], ids=["text", "json"])
def test_a_problem_is_printed_and_is_the_exit_code(option: list[str], tmp_path: Path) -> None:
    model = glm4()
    del model.keys["glm4.rope.dimension_count"]
    result = inspect(*option, model.write(tmp_path / "bad.gguf"))
    assert result.exit_code == PROBLEM_EXIT
    assert "dimension_count is missing" in result.output


def test_advice_is_printed_and_is_no_failure(tmp_path: Path) -> None:
    model = glm4()
    del model.keys["tokenizer.ggml.eom_token_id"]
    result = inspect(model.write(tmp_path / "stock.gguf"))
    assert result.exit_code == 0
    assert "advice: <|observation|> does not end generation" in result.output


def test_a_files_text_cannot_steer_the_terminal(tmp_path: Path) -> None:
    model = Model({"general.name": (STR, "a\x1b[2Jb\nc"), "k\x1b": (STR, "\x9b\u202e")})
    model.keys["tokenizer.chat_template"] = (STR, "x\x1b[31m\ny")
    path = model.write(tmp_path / "evil.gguf")
    for option in ([], ["--json"], ["--tensors"], ["--template"]):
        shown = inspect(*option, path).output
        assert not {"\x1b", "\x9b", "\u202e"} & set(shown)
    assert "a\\x1b[2Jb\\nc" in inspect(path).output


def test_options_that_exclude_each_other_are_refused(tmp_path: Path) -> None:
    result = inspect("--json", "--template", glm4().write(tmp_path / "good.gguf"))
    assert result.exit_code == 2


def test_a_malformed_file_is_one_line_on_stderr(tmp_path: Path) -> None:
    path = tmp_path / "absurd.gguf"
    path.write_bytes(head(2**64 - 1, 2**64 - 1) + b"\0" * 25)
    done = run(path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: {path}, header, byte 8: 18446744073709551615 tensors are announced")
    assert done.stderr.count("\n") == 1


def test_the_command_line_passes_the_exit_code_on(tmp_path: Path) -> None:
    model = glm4()
    model.keys["general.architecture"] = (STR, "glm4moe")
    done = run(model.write(tmp_path / "old.gguf"))
    assert (done.returncode, done.stderr) == (PROBLEM_EXIT, "")


def test_an_output_that_knows_ascii_only_gets_escapes(tmp_path: Path) -> None:
    model = glm4()
    model.keys["general.name"] = (STR, "模型")
    done = run(model.write(tmp_path / "good.gguf"), PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u6a21\\u578b" in done.stdout
