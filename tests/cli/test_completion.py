"""The shell completes commands, options and what may stand behind them; help comes in groups; start-up stays light."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest
from click.shell_completion import BashComplete
from click.testing import CliRunner

from glm_gguf.cli.completed_values import FILE_TYPES
from glm_gguf.cli.main import cli
from glm_gguf.convert.recipe import file_types
from glm_gguf.store.model import Model, StoredFile
from glm_gguf.store.store import Store

REPOSITORY = Path(__file__).resolve().parents[2]


def completed(words: str) -> list[str]:
    """What click answers to bash."""
    complete = BashComplete(cli, {}, "glm-gguf", "_GLM_GGUF_COMPLETE")
    *arguments, incomplete = words.split(" ")[1:]
    return [found.value for found in complete.get_completions(arguments, incomplete)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("glm-gguf conv", ["convert"]),
        ("glm-gguf convert --type q4_k", ["Q4_K_S", "Q4_K_M"]),
        ("glm-gguf chat --top-", ["--top-k", "--top-p"]),
        ("glm-gguf run --cache-type-k q8", ["q8_0"]),
        ("glm-gguf completion ", ["bash", "zsh", "fish"]),
        ("glm-gguf pull glm-z1-3", ["glm-z1-32b"]),
        ("glm-gguf config un", ["unset"]),
        ("glm-gguf config set cache-", ["cache-type-k", "cache-type-v"]),
        ("glm-gguf chat --device ", []),
    ],
)
def test_the_shell_completes(words: str, expected: list[str]) -> None:
    assert set(completed(words)) == set(expected)


@pytest.mark.parametrize(
    ("command", "own"),
    [("chat", "--tools"), ("run", "--lines"), ("serve", "--port")],
)
def test_help_begins_with_the_commands_own_options(command: str, own: str) -> None:
    shown = CliRunner().invoke(cli, [command, "--help"]).stdout
    sections = re.split(r"^(Options|Sampling|Model and engine):$", shown, flags=re.MULTILINE)[1:]
    assert sections[::2] == ["Options", "Sampling", "Model and engine"]
    for section, option in zip(sections[1::2], (own, "--temperature", "--n-ctx"), strict=True):
        assert option in section


def test_commands_that_sample_nothing_have_no_sampling_in_their_help() -> None:
    for command, own in (("bench", "--clients"), ("plan", "--imatrix")):
        shown = CliRunner().invoke(cli, [command, "--help"]).stdout
        sections = re.split(r"^(Options|Model and engine):$", shown, flags=re.MULTILINE)[1:]
        assert sections[::2] == ["Options", "Model and engine"]
        assert own in sections[1]
        assert "--threads" in sections[3]
        assert "--temperature" not in shown


def test_file_types_are_those_that_convert_knows() -> None:
    assert set(FILE_TYPES) == set(file_types.FILE_TYPES)


def stored(directory: Path) -> Path:
    """A store with one model, whose file is empty."""
    directory.mkdir()
    (directory / "m.gguf").touch()
    Store(directory).add(Model("glm-tiny", "Q8_0", (StoredFile(directory / "m.gguf", 0),)))
    return directory


def test_models_are_those_of_the_store_and_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLM_GGUF_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    assert completed("glm-gguf chat g") == ["g"], "any path, which the shell completes"
    stored(tmp_path / "store")
    for name in ("glm-here.gguf", "with blank.gguf", "other.gguf"):
        (tmp_path / name).touch()
    assert completed("glm-gguf chat g") == completed("glm-gguf chat GL") == ["glm-tiny", "glm-here.gguf"]
    assert completed("glm-gguf chat ./g") == ["./g"]
    (tmp_path / "store" / "index.json").unlink()
    (tmp_path / "store" / "index.json").mkdir()
    assert completed("glm-gguf chat glm-h") == ["glm-here.gguf"], "a store that cannot be read has no names"


@pytest.mark.skipif(sys.platform == "win32", reason="names that Windows has not, and bash")
def test_what_is_completed_is_taken_by_a_shell_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    good = ["模型-Q4_K_M.gguf", "a+b@c,d=e%f.gguf", "x:y.gguf"]
    special = [f"a{character}b.gguf" for character in "\"'\\$`;&|<>()[]{}*?!#~^ \n\t"]
    for name in (*good, *special, "$(touch run).gguf", "`touch run`.gguf", "-x.gguf"):
        (tmp_path / name).touch()
    found = completed("glm-gguf chat ")
    assert sorted(found) == sorted(good)
    for name in found:
        assert (
            subprocess.run(["bash", "-c", f"printf %s {name}"], capture_output=True, check=True).stdout == name.encode()
        )


@pytest.mark.parametrize(
    "words", ["", "chat ", "convert --type q4", "chat --device C", "config set "], ids=lambda words: words.strip()
)
def test_a_completion_imports_nothing_heavy(words: str, glm_gguf_command: Path, tmp_path: Path) -> None:
    """The time of a Tab is that of the imports: 0.06 to 0.2 s of a core."""
    count = 1 + words.count(" ")
    variables = {"_GLM_GGUF_COMPLETE": "bash_complete", "COMP_WORDS": f"glm-gguf {words}", "COMP_CWORD": str(count)}
    environment = os.environ | variables | {"PYTHONPATH": str(REPOSITORY), "PYTHONPROFILEIMPORTTIME": "1"}
    done = subprocess.run([glm_gguf_command], env=environment, capture_output=True, text=True, check=True, cwd=tmp_path)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "glm_gguf.cli.main" in imported
    assert not imported & {"numpy", "llama_cpp", "gguf", "rich", "prompt_toolkit", "fastapi", "huggingface_hub"}


@pytest.fixture
def glm_gguf_command(tmp_path: Path) -> Path:
    """The command as pip installs it."""
    path = tmp_path / "bin" / "glm-gguf"
    path.parent.mkdir()
    path.write_text(f"#!{sys.executable}\nfrom glm_gguf.cli.main import main\n\nmain()\n")
    path.chmod(0o755)
    return path


SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$(glm-gguf completion bash)"'),
    "zsh": (["zsh", "-f", "-i"], 'autoload -U compinit; compinit -u -D; eval "$(glm-gguf completion zsh)"'),
    "fish": (["fish", "--no-config", "-i"], "glm-gguf completion fish | source"),
}
TYPED = {
    "command": ("glm-gguf conv", "ert"),
    "type": ("glm-gguf convert --type Q4_K_", "Q4_K_M"),
    "cache": ("glm-gguf run --cache-type-k q8", "_0"),
    "model": ("glm-gguf chat glm-t", "iny"),
    "file": ("glm-gguf chat here/only-", "one.txt"),
}


@pytest.fixture(scope="module", params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[pexpect.spawn]:
    """A shell in a terminal that has read its script, in a directory with one file and with one stored model."""
    command, script = SHELLS[request.param]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    home = tmp_path_factory.mktemp(request.param)
    (home / "bin").mkdir()
    (home / "bin" / "glm-gguf").write_text(f"#!{sys.executable}\nfrom glm_gguf.cli.main import main\n\nmain()\n")
    (home / "bin" / "glm-gguf").chmod(0o755)
    (home / "here").mkdir()
    (home / "here" / "only-one.txt").touch()
    stored(home / "store")
    environment = os.environ | {
        "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "GLM_GGUF_STORE": str(home / "store"),
        "HOME": str(home),
        "TERM": "xterm",
        "PS1": "> ",
    }
    size = (50, 200)
    running = pexpect.spawn(command[0], command[1:], env=environment, cwd=str(home), encoding="utf-8", dimensions=size)
    running.sendline(f"{script}; echo rea''dy")
    running.expect("ready", timeout=60)
    yield running
    running.close(force=True)


@pytest.mark.parametrize("case", TYPED)
def test_a_tab_completes_in_a_real_shell(case: str, shell: pexpect.spawn) -> None:
    typed, expected = TYPED[case]
    shell.send(f"{typed}\t" + ("\t" if case == "type" else ""))
    shell.expect_exact(expected, timeout=60)
    shell.send("\x15")  # Ctrl-U: an empty line again
    shell.sendline("echo o''ver")
    shell.expect_exact("over", timeout=60)


def test_only_a_chat_in_a_terminal_loads_its_editor() -> None:
    program = (
        "import importlib, sys; [importlib.import_module('glm_gguf.cli.' + n) for n in ('run', 'chat', 'serve')];"
        "print([m for m in ('prompt_toolkit', 'llama_cpp', 'rich', 'fastapi') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
