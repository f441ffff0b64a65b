"""Programs of others, started by `launch`: a session with a call of a tool runs to its end, with the tiny model."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from damage import command_line
from server.serving import Served, serving

from glm_gguf import GLM
from glm_gguf.demo.tools import get_weather
from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.llama.sampling_params import SamplingParams
from glm_gguf.server.settings import ServerSettings

PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
QUESTION = "What is the weather in Paris?"
PARIS = get_weather("Paris")
TOLD = f"{PARIS['weather']}, {PARIS['temperature']} degrees"
"""What the tool alone knows: it draws the weather from the city's name."""


def needs(program: str, name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program, path=PATH) is None, reason=f"{name} is not installed")


@pytest.fixture(scope="module")
def served(tiny_gguf: Callable[[str], Path]) -> Iterator[Served]:
    settings = ServerSettings("glm-here", sampling=SamplingParams(temperature=0, max_tokens=120))
    options = EngineOptions(threads=1, n_ctx=4096)
    with serving(settings, lambda: GLM(tiny_gguf("Q8_0"), options=options)) as running:
        yield running


def launched(served: Served, home: Path, *words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program in an empty home."""
    environment = {**os.environ, "PATH": PATH, "HOME": str(home), "PWD": str(home), **options.pop("variables", {})}
    port = served.url.rpartition(":")[2]
    return command_line("launch", "--port", port, *words, env=environment, cwd=home, **options)


@needs("llm", "llm")
def test_llm_calls_a_function(served: Served, tmp_path: Path) -> None:
    (tmp_path / "functions.py").write_text("from glm_gguf.demo.tools import get_weather\n")
    ended = launched(served, tmp_path, "llm", "--functions", "functions.py", QUESTION, stdin=subprocess.DEVNULL)
    assert ended.returncode == 0, ended.stderr
    assert TOLD in ended.stdout


@needs("opencode", "opencode")
def test_opencode_calls_a_tool_of_an_mcp_server(served: Served, tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).with_name("weather_server.py"))]
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    config = {
        "mcp": {"get": {"type": "local", "command": command, "environment": environment}},
        "tools": {"*": False, "get_*": True},
        "agent": {"build": {"prompt": "You are a helpful assistant."}},
    }
    (tmp_path / "opencode.json").write_text(json.dumps(config))
    alone = {"OPENCODE_DISABLE_MODELS_FETCH": "1", "OPENCODE_DISABLE_AUTOUPDATE": "1"}
    # Words of the command line would come to the model in quotes, which it has never seen.
    ended = launched(served, tmp_path, "opencode", "run", input=QUESTION, variables=alone)
    assert ended.returncode == 0, ended.stderr
    assert TOLD in ended.stdout
    assert "get_weather" in ended.stderr


@needs("claude", "Claude Code")
def test_claude_code_asks_the_model(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["-p", "What is 3 plus 4?", "--tools", "Read", "--system-prompt", "You are brief."]
    variables = {**os.environ, "HOME": str(tmp_path)}
    ended = command_line("launch", "--port", port, "--model", tiny_gguf("Q8_0"), "claude", *words, env=variables)
    assert (ended.returncode, bool(ended.stdout.strip())) == (0, True), ended.stderr
