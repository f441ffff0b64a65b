"""Fixtures every test may use: where the official data lies, and models made from the bundled checkpoint."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from adapters import factors, query_shape, write_adapter
from batch_runs import mixed_lines, write_lines
from engine.conversations import EXACT
from hostile import Hostile
from hub_server import HubServer, serving
from loading import context_of, opened
from waiting import until

from glm_gguf.convert import ConvertOptions, TypeChoices, convert
from glm_gguf.llama.context import Context
from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.llama.model_handle import ModelHandle

os.environ["GLM_GGUF_CONFIG"] = os.devnull  # whoever runs the tests may have a configuration
# A shell's background job ignores SIGINT; its children would ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
REPOSITORY = Path(__file__).resolve().parent.parent
TINY_CHECKPOINT = REPOSITORY / "glm_gguf" / "demo" / "checkpoint"
RUMINATION = REPOSITORY / "glm_gguf" / "chat" / "glm-z1-rumination-0414.jinja"
ONE_THREAD = EngineOptions(threads=1, n_ctx=512, n_gpu_layers=0)


@pytest.fixture(scope="session")
def official() -> Path:
    """The official configs, templates, renderings and vocabulary, which are not part of the project."""
    path = REPOSITORY.parent / "shared" / "glm"
    if not path.is_dir():
        pytest.skip("the official files (../shared/glm) are not beside this checkout")
    return path


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub without repositories, for both schemes."""
    with serving() as server:
        monkeypatch.setenv("HF_ENDPOINT", f"{server.hub_url}/")
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", server.hub_url)
        for name in ("HF_TOKEN", "MODELSCOPE_API_TOKEN", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
        yield server


@pytest.fixture(scope="session", autouse=True)
def _own_store(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The tests' own store of models, which is empty."""
    os.environ["GLM_GGUF_STORE"] = str(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The bundled tiny checkpoint as a GGUF of the asked type, converted once a session."""
    directory = tmp_path_factory.mktemp("tiny")

    def made(type_: str) -> Path:
        out = directory / f"tiny-{type_}.gguf"
        if not out.exists():
            convert(TINY_CHECKPOINT, out, ConvertOptions(types=TypeChoices(type=type_)))
        return out

    return made


@pytest.fixture(scope="session")
def templated(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the tiny model with another chat template, made once a session."""
    made: dict[str, Path] = {}

    def model(template: str) -> Path:
        if template not in made:
            checkpoint = tmp_path_factory.mktemp("templated") / "checkpoint"
            shutil.copytree(TINY_CHECKPOINT, checkpoint)
            settings = json.loads((checkpoint / "tokenizer_config.json").read_text("utf-8"))
            (checkpoint / "tokenizer_config.json").write_text(json.dumps({**settings, "chat_template": template}))
            made[template] = checkpoint.parent / "model.gguf"
            convert(checkpoint, made[template], ConvertOptions(types=TypeChoices(type="Q8_0")))
        return made[template]

    return model


@pytest.fixture(scope="session")
def rumination(templated: Callable[[str], Path]) -> Path:
    """The tiny model with the bundled template of Rumination."""
    return templated(RUMINATION.read_text("utf-8"))


@pytest.fixture(scope="session")
def workplace(tiny_gguf: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with everything that the documents' blocks name."""
    directory = tmp_path_factory.mktemp("docs")
    for name in ("model.gguf", "GLM-4-9B-0414-Q4_K_M.gguf"):
        (directory / name).symlink_to(tiny_gguf("Q8_0"))
    (directory / "GLM-4-9B-0414").symlink_to(TINY_CHECKPOINT)
    write_adapter(directory / "my-lora", factors(shape=query_shape(TINY_CHECKPOINT)))
    (directory / "glm_gguf").symlink_to(REPOSITORY / "glm_gguf")
    (directory / "my_tools.py").symlink_to(REPOSITORY / "glm_gguf" / "demo" / "tools.py")
    (directory / "bfcl-data").symlink_to(REPOSITORY / "tests" / "golden" / "bfcl")
    (directory / "notes").mkdir()
    (directory / "notes" / "light.md").write_text(
        "# Harrow light\n\nAnsel Brook keeps the light, and lives beside it.\n"
    )
    time = {"command": sys.executable, "args": ["-m", "mcp_server_time"]}
    (directory / "mcp.json").write_text(json.dumps({"mcpServers": {"time": time}}))
    right = [line for line in mixed_lines(14) if line["custom_id"].startswith(("chat", "plain"))]
    write_lines(directory / "requests.jsonl", right)
    (directory / "notes.txt").write_text("Hello\nWhat is the weather in Paris?\n")
    return directory


@pytest.fixture(scope="session")
def model(tiny_gguf: Callable[[str], Path]) -> Iterator[ModelHandle]:
    """The tiny model as Q8_0."""
    with opened(tiny_gguf("Q8_0"), ONE_THREAD) as handle:
        yield handle


@pytest.fixture(scope="session")
def exact_model(tiny_gguf: Callable[[str], Path]) -> Iterator[ModelHandle]:
    """The tiny model as F32."""
    with opened(tiny_gguf("F32"), EXACT) as handle:
        yield handle


@pytest.fixture
def context(model: ModelHandle) -> Iterator[Context]:
    """A fresh context of 512 tokens."""
    with context_of(model, ONE_THREAD) as made:
        yield made


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[Hostile]:
    """A server's configuration; none of its processes is left at the end."""
    made = Hostile(tmp_path)
    yield made
    assert made.started
    until(lambda: not made.alive)
