"""A server on a real port with the tiny model, started once for all tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import openai
import pytest
from server.serving import Served, serving

import glm_gguf
from glm_gguf import GLM, CacheType, EngineOptions
from glm_gguf.convert import ConvertOptions, TypeChoices, convert
from glm_gguf.server.limits import Limits
from glm_gguf.server.settings import ServerSettings

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # or importing litellm asks the network
os.environ.setdefault("LANGSMITH_TRACING", "false")
for phase in ("connect", "read", "write", "pool"):  # httpx gives up after 5 seconds, which a busy machine may need
    setattr(httpx._config.DEFAULT_TIMEOUT_CONFIG, phase, 60)
PACKAGE = Path(glm_gguf.__file__).parent
F32 = CacheType.F32
# Exact, so that an answer among others is the one given alone.
OPTIONS = EngineOptions(threads=1, n_ctx=4096, n_parallel=8, cache_type_k=F32, cache_type_v=F32, flash_attention=False)


@pytest.fixture(scope="module", autouse=True)
def no_certificates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let HTTP clients load no certificates: each client would spend 25 ms on them, and no test speaks TLS."""
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("SSL_CERT_FILE", raising=False)
        environment.setenv("SSL_CERT_DIR", str(tmp_path_factory.mktemp("certificates")))
        yield


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep indexes of folders out of the cache of whoever runs the tests."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def one_note(tmp_path: Path, own_cache: None) -> Path:
    """A folder with a note to research in."""
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "light.md").write_text("# The light\n\nAnsel keeps the light.")
    return tmp_path / "notes"


@pytest.fixture(scope="session")
def open_tiny(tiny_gguf: Callable[[str], Path]) -> Callable[[], GLM]:
    """Return a function that opens the tiny model."""
    path = tiny_gguf("F32")
    return lambda: GLM(path, options=OPTIONS)


@pytest.fixture(scope="session")
def served(open_tiny: Callable[[], GLM]) -> Iterator[Served]:
    """The server that most tests talk to."""
    with serving(ServerSettings("tiny"), open_tiny) as running:
        yield running


@pytest.fixture(scope="session")
def z1(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with the tiny model and Z1's template, which opens a thought."""
    directory = tmp_path_factory.mktemp("z1") / "z1"
    shutil.copytree(PACKAGE / "demo" / "checkpoint", directory)
    shutil.copy(PACKAGE / "chat" / "glm-z1-0414.jinja", directory / "chat_template.jinja")
    path = directory / "z1.gguf"
    convert(directory, path, ConvertOptions(types=TypeChoices(type="Q8_0")))
    with serving(ServerSettings("z1"), lambda: GLM(path, options=EngineOptions(threads=1, n_ctx=2048))) as running:
        yield running


@pytest.fixture
def client(served: Served) -> Iterator[openai.OpenAI]:
    """OpenAI's Python client."""
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture(scope="session")
def quick(open_tiny: Callable[[], GLM]) -> Iterator[Served]:
    """A server with short time limits and small sizes."""
    limits = Limits(
        body_bytes=100_000,
        containers=20_000,
        head_seconds=1.0,
        body_seconds=1.0,
        messages=10,
        tools=3,
        depth=40,
        stall_seconds=0.5,
        keep_alive_seconds=0.05,
        seconds=3.0,
    )
    with serving(ServerSettings("tiny", limits=limits), open_tiny) as running:
        yield running
