"""`glm-gguf config`, and what a configured value does in the commands."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pexpect
import pytest
from click.testing import CliRunner, Result
from damage import command_line, says

from glm_gguf.cli.main import cli
from glm_gguf.configuration.kinds import Amount, Number, NumberOr, OneOf
from glm_gguf.configuration.settings import ALL
from glm_gguf.errors import GlmGgufError
from glm_gguf.llama.bounds import MOST_INTEGER

Invoke = Callable[..., Result]


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Run a command with a configuration of its own, in an empty directory."""
    monkeypatch.delenv("GLM_GGUF_CONFIG")
    monkeypatch.delenv("GLM_GGUF_STORE")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HF_TOKEN", "hf_geheim")
    monkeypatch.chdir(tmp_path)
    return lambda *words, **options: CliRunner().invoke(cli, [str(word) for word in words], **options)


def told(result: Result) -> str:
    assert isinstance(result.exception, GlmGgufError), result.output
    return str(result.exception)


def test_what_is_set_is_shown_with_its_place_and_without_secrets(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("n-ctx", "4096"), ("threads", "2"), ("api-key", "geheim"), ("model", "m.gguf")):
        assert invoke("config", "set", name, value).exit_code == 0
    monkeypatch.setenv("GLM_GGUF_N_CTX", "512")
    shown = invoke("config", "show")
    file = str(tmp_path / "config" / "glm-gguf" / "config.toml")
    says(shown.stdout, f"file: {file}\n", "512", "GLM_GGUF_N_CTX, over the file", "HF_TOKEN: set\n", "(hidden)")
    says(shown.stdout, "not set: store, n-parallel")
    found = json.loads(invoke("config", "show", "--json").stdout)
    rows = {row["name"]: row for row in found["settings"]}
    assert (found["file"], found["exists"]) == (file, True)
    assert (rows["n-ctx"]["value"], rows["n-ctx"]["origin"], rows["n-ctx"]["over_file"]) == (512, "variable", True)
    assert (rows["threads"]["value"], rows["threads"]["origin"]) == (2, "file")
    assert (rows["port"]["value"], rows["port"]["origin"]) == (None, "default")
    assert rows["model"]["value"] == str(tmp_path / "m.gguf"), "a path is kept whole"
    assert found["tokens"] == {"HF_TOKEN": True, "MODELSCOPE_API_TOKEN": False}
    assert "geheim" not in shown.stdout + json.dumps(found)


def test_the_path_is_told_whatever_the_file_holds(invoke: Invoke, tmp_path: Path) -> None:
    path = tmp_path / "config" / "glm-gguf" / "config.toml"
    assert invoke("config", "path").stdout == f"{path}\n"
    path.parent.mkdir(parents=True)
    path.write_text("[broken")
    assert invoke("config", "path").stdout == f"{path}\n"
    says(told(invoke("config", "show")), str(path), "line 1, column 8")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["set", "ntx", "1"], ["ntx: no setting has this name", "did you mean n-ctx?"]),
        (["set", "n-ctx"], ["VALUE, n-ctx: it is missing"]),
        (["set", "n-ctx", "0"], ["n-ctx: 0 is out of range", "give 1 to"]),
        (["unset", "n-ctx"], ["n-ctx is not set there"]),
    ],
    ids=["name", "no value", "bounds", "unset"],
)
def test_a_mistake_is_named_and_changes_nothing(words: list[str], parts: list[str], invoke: Invoke) -> None:
    invoke("config", "set", "port", "1")
    before = Path(invoke("config", "path").stdout.strip()).read_text()
    says(told(invoke("config", *words)), *parts)
    assert Path(invoke("config", "path").stdout.strip()).read_text() == before


def test_a_key_may_come_from_a_pipe(invoke: Invoke) -> None:
    says(told(invoke("config", "set", "api-key", input="")), "VALUE, api-key: it is missing")
    asked = invoke("config", "set", "api-key", input="geheim\n")
    assert asked.exit_code == 0
    assert "geheim" not in asked.output
    assert 'api-key = "geheim"' in Path(invoke("config", "path").stdout.strip()).read_text()


def test_a_variable_that_hides_a_change_is_told(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLM_GGUF_PORT", "9")
    says(invoke("config", "set", "port", "1").stderr, "GLM_GGUF_PORT is set, and goes before the file")


def answer(invoke: Invoke, *words: object) -> dict[str, Any]:
    result = invoke("run", *words, "--json")
    assert result.exit_code == 0, (result.output, result.exception)
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_commands_take_what_is_set_and_options_go_before_it(
    invoke: Invoke, tiny_gguf: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    says(told(invoke("run", "default", "Hello")), "no model is named", "glm-gguf config set model FILE")
    invoke("config", "set", "model", tiny_gguf("Q8_0"))
    says(told(invoke("run", "Hello")), "the store has no", "`default` as FILE is the model of the configuration")
    for name, value in (("max-tokens", 3), ("n-ctx", 512), ("threads", 1)):
        invoke("config", "set", name, value)
    assert answer(invoke, "default", "Hello")["usage"]["completion_tokens"] == 3
    monkeypatch.setenv("GLM_GGUF_MAX_TOKENS", "2")
    assert answer(invoke, "default", "Hello")["usage"]["completion_tokens"] == 2
    assert answer(invoke, "default", "Hello", "--max-tokens", 4)["usage"]["completion_tokens"] == 4
    says(invoke("inspect", "default").stdout, str(tiny_gguf("Q8_0")))
    assert json.loads(invoke("plan", "--json", "--no-rates").stdout)["source"] == str(tiny_gguf("Q8_0"))
    result = invoke("run", "--json", input="Hello")
    assert json.loads(result.stdout)["usage"]["completion_tokens"] == 2


def test_an_error_about_a_configured_value_says_where_it_is_set(
    invoke: Invoke, tiny_gguf: Callable[[str], Path], tmp_path: Path
) -> None:
    invoke("config", "set", "n-ctx", "100000")
    file = tiny_gguf("Q8_0")
    says(told(invoke("run", file, "Hello")), "100000", "it is set by", "config.toml, [engine] n-ctx")
    says(told(invoke("run", file, "Hello", "--n-ctx", "100001")), "100001")
    assert "it is set by" not in told(invoke("run", file, "Hello", "--n-ctx", "100001"))


def test_a_configured_key_is_added_to_those_of_the_command_line(
    invoke: Invoke, tiny_gguf: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLM_GGUF_API_KEY", "kéy\n")
    result = invoke("serve", tiny_gguf("Q8_0"), "--host", "192.0.2.1", "--api-key", "k")
    says(told(result), "a key that no header can hold")


def test_a_broken_file_or_variable_ends_in_one_line_and_help_needs_neither(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[engine]\nn-ctx = \n")
    environment = os.environ | {"GLM_GGUF_CONFIG": str(tmp_path / "c.toml"), "GLM_GGUF_TYPE": "Q8_0"}
    done = command_line("convert", "x", env=environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        done.stderr
        == "Error: GLM_GGUF_TYPE: no setting has this name; unset it; glm-gguf config show lists the settings\n"
    )
    del environment["GLM_GGUF_TYPE"]
    done = command_line("run", "x.gguf", "Hello", env=environment)
    assert (done.returncode, done.stdout) == (1, "")
    says(done.stderr, f"Error: {tmp_path / 'c.toml'}: this is no TOML: ", "(at line 2, column 9)")
    assert done.stderr.count("\n") == 1
    assert command_line("serve", "--help", env=environment).returncode == 0


@pytest.mark.parametrize("setting", [setting for setting in ALL if setting.section], ids=lambda setting: setting.key)
def test_a_setting_is_an_option_that_takes_the_same(setting: Any) -> None:
    command = cli.get_command(click.Context(cli), "serve" if setting.section == "server" else "run")
    assert command is not None
    (option,) = [option for option in command.params if f"--{setting.key}" in option.opts]
    match setting.kind, option.type:
        case Number(bounds), click.IntRange() as limits:
            most = MOST_INTEGER if limits.max is None else limits.max
            assert (limits.min, most, bounds.whole) == (bounds.minimum, bounds.maximum, True)
        case Number(bounds), kind:
            assert bounds.whole == (kind is click.INT)
        case OneOf(words), click.Choice() as choice:
            assert words == tuple(choice.choices)
        case (Amount() | NumberOr()) as kind, _:
            for text in (
                (f"1.5{letter}" for letter in kind.unit.letters) if isinstance(kind, Amount) else ("auto", "off", "7")
            ):
                assert kind.of_text(text) == option.type.convert(text, option, None)
        case _:
            assert option.type is click.STRING or isinstance(option.type, click.Path)


def test_a_key_is_asked_for_without_an_echo(tmp_path: Path) -> None:
    environment = os.environ | {"GLM_GGUF_CONFIG": str(tmp_path / "c.toml")}
    words = ["-m", "glm_gguf", "config", "set", "api-key"]
    with pexpect.spawn(sys.executable, words, env=environment, encoding="utf-8", timeout=60) as asking:
        asking.expect_exact("api-key: ")
        asking.sendline("geheim")
        asking.expect(pexpect.EOF)
        assert "geheim" not in asking.before
    assert (tmp_path / "c.toml").read_text() == '[server]\napi-key = "geheim"\n'
