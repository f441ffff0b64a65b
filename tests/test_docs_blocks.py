"""Every block of the documents runs, or is checked as far as one can without a network."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from documents import DOCUMENTS, REPOSITORY, Block, blocks
from server.serving import Served, serving

from glm_gguf import GLM
from glm_gguf.cli.main import cli
from glm_gguf.research.research_sources import ResearchSources
from glm_gguf.server.batches.settings import BatchSettings
from glm_gguf.server.settings import ServerSettings

ADDRESS = "http://127.0.0.1:8080"
ELSEWHERE = (
    "hf://",
    "ms://",
    "glm-gguf pull ",
    "pip ",
    "serve ",
    "scripts/",
    "-m venv",
    "-m pytest",
    "export ",
    "curl ",
    "CUDA",
    " bench ",
    " launch ",
    "glm-gguf worker",
    "lm_eval",
    "--mcp-search",
    "--worker",
    "ssh ",
    "docker ",
    "apt-get ",
)
"""What a shell block holds that needs a network, a terminal, minutes, or a program of others."""
FOREIGN = (
    *(
        "aider",
        "apt-get",
        "cat",
        "claude",
        "cline",
        "cp",
        "curl",
        "docker",
        "eval",
        "lm_eval",
        "source",
        "ssh",
        "systemctl",
    ),
    "tee",
)
SHELL = blocks("sh")
OFFLINE = [block for block in SHELL if not any(word in block.text for word in ELSEWHERE)]
CURLS = [block for block in SHELL if "curl " in block.text]
# The README's and the Guide's run in tests of their own.
PYTHON = [block for block in blocks("python") if block.page not in ("README.md", "docs/python.md", "docs/examples.md")]
PIP = re.compile(r"pip install .*'(?:\.|glm-gguf)(?:\[([\w,]+)\])?'")


def commands(line: str) -> Iterator[list[str]]:
    """Split a line of a shell block into its commands, without settings of variables before them."""
    for part in line.partition(" #")[0].split(" | "):
        words = shlex.split(part)
        while words and re.fullmatch(r"\w+=.*", words[0]):
            words.pop(0)
        yield words


def lines(block: Block) -> Iterator[str]:
    """Yield the commands' lines; what is indented goes on with the one before."""
    for line in block.text.replace("\\\n", " ").splitlines():
        if line and not line.startswith((" ", "#")):
            yield line


LINES = [pytest.param(line, id=f"{block}-{line}") for block in SHELL for line in lines(block)]


@pytest.mark.parametrize("line", LINES)
def test_every_line_of_a_shell_block_names_what_there_is(line: str) -> None:
    for name, *arguments in commands(line) if "curl" not in line else ():
        if name == "glm-gguf":
            context = click.Context(cli, **cli.context_settings)  # click keeps the help option of the first context
            command = cli.get_command(context, arguments[0])
            assert command is not None
            command.make_context(arguments[0], arguments[1:], parent=context)
        elif name == "pip":
            project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
            if arguments[0] == "wheel":
                assert arguments[-1] == "." or any(named.startswith(arguments[-1]) for named in project["dependencies"])
                continue
            extras = PIP.search(line)
            assert extras is not None
            assert set((extras[1] or "").split(",")) <= {"", *project["optional-dependencies"]}
        elif name.startswith(("scripts/", ".ci/")):
            assert (REPOSITORY / name).stat().st_mode & 0o111
        else:
            assert name in (*FOREIGN, "export", "python3", ".venv/bin/python"), name


@pytest.fixture
def place(workplace: Path, tmp_path: Path) -> Path:
    """A directory of a block's own, with the command on the path."""
    for name in workplace.iterdir():
        if name.name == "model.gguf":  # mend changes a file where it lies, and follows no link
            shutil.copyfile(name, tmp_path / name.name)
        else:
            (tmp_path / name.name).symlink_to(name)
    shim = tmp_path / "bin" / "glm-gguf"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m glm_gguf "$@"\n')
    shim.chmod(0o755)
    return tmp_path


def run(script: str, place: Path) -> subprocess.CompletedProcess[str]:
    path = f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(REPOSITORY), "PYTHONUTF8": "1"}
    environment |= {"XDG_CONFIG_HOME": str(place / "config"), "GLM_GGUF_CONFIG": ""}
    environment["XDG_CACHE_HOME"] = str(place / "cache")
    environment["GLM_GGUF_THREADS"] = "1"  # more of them wait for each other, where other tests run too
    command = ["bash", "-euo", "pipefail", "-c", script]
    return subprocess.run(
        command, cwd=place, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("block", OFFLINE, ids=str)
def test_a_shell_block_runs(block: Block, place: Path) -> None:
    done = run(block.text, place)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def live(workplace: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with the tiny model, which researches questions in the notes, and keeps batches."""
    batches = BatchSettings(tmp_path_factory.mktemp("batches"))
    settings = ServerSettings("glm", research=ResearchSources(workplace / "notes"), batches=batches)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        with serving(settings, lambda: GLM(workplace / "model.gguf", options={"threads": 1})) as running:
            yield running


@pytest.mark.parametrize("block", CURLS, ids=str)
def test_a_block_of_curl_is_answered(block: Block, live: Served, place: Path) -> None:
    done = run(block.text.replace(ADDRESS, live.url).replace("curl ", "curl --fail --silent "), place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"object":' in done.stdout


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_a_python_block_runs(
    block: Block, live: Served, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(workplace)
    program = block.text.replace(ADDRESS, live.url)
    names: dict[str, Any] = {"__name__": block.page}
    exec(compile(program, block.page, "exec", dont_inherit=True), names)
    assert capsys.readouterr().out.strip() or "print(" not in program


@pytest.mark.parametrize("block", blocks("js"), ids=str)
def test_a_javascript_block_parses(block: Block) -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    command = ["node", "--check", "--input-type=module", "-"]
    subprocess.run(command, input=block.text, text=True, check=True, capture_output=True)


PARSERS: dict[str, Callable[[str], Any]] = {"toml": tomllib.loads, "yaml": yaml.safe_load, "json": json.loads}


@pytest.mark.parametrize("block", [block for name in PARSERS for block in blocks(name)], ids=str)
def test_a_block_of_settings_parses(block: Block) -> None:
    assert PARSERS[block.language](block.text)


def test_no_block_is_of_a_kind_that_nothing_checks() -> None:
    checked = {"sh", "python", "js", *PARSERS}
    other = [block for page in DOCUMENTS for name in ("", "text") for block in blocks(name, page)]
    counted = sum(len(blocks(name)) for name in checked) + len(other)
    assert 2 * counted == sum(len(re.findall(r"(?m)^```", page.read_text("utf-8"))) for page in DOCUMENTS)
    shown = {str(block) for block in other if block.page != "docs/cli.md"}
    assert shown == {
        "README.md-glm-gguf",
        "ARCHITECTURE.md-The picture",
        "ARCHITECTURE.md-Files",
        "docs/models.md-Where it lies",
    }
