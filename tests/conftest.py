"""Fixtures every test may use: where the official data lies, and models made from the bundled checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from glm_gguf.convert import ConvertOptions, TypeChoices, convert

REPOSITORY = Path(__file__).resolve().parent.parent
TINY_CHECKPOINT = REPOSITORY / "glm_gguf" / "demo" / "checkpoint"


@pytest.fixture(scope="session")
def official() -> Path:
    """The official configs, templates, renderings and vocabulary, which are not part of the project."""
    path = REPOSITORY.parent / "shared" / "glm"
    if not path.is_dir():
        pytest.skip("the official files (../shared/glm) are not beside this checkout")
    return path


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
