"""A store of its own for each test, and GGUFs to put on a hub."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from documents import REPOSITORY

from glm_gguf.convert import convert
from glm_gguf.store.store import Store


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty store, which commands use too."""
    monkeypatch.setenv("GLM_GGUF_STORE", str(tmp_path / "store"))
    return Store()


@pytest.fixture(scope="session")
def gguf(tiny_gguf: Callable[[str], Path]) -> bytes:
    """The bytes of a whole model."""
    return tiny_gguf("Q8_0").read_bytes()


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The parts of a split model, by their names."""
    out = tmp_path_factory.mktemp("parts") / "tiny-Q8_0.gguf"
    written = convert(REPOSITORY / "glm_gguf" / "demo" / "checkpoint", out, type="Q8_0", split_max_bytes=10**6)
    assert len(written) > 2
    return {path.name: path.read_bytes() for path in written}
