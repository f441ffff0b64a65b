"""The tiny model for runs with tools of servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.model import GLM


@pytest.fixture(scope="session")
def glm(tiny_gguf: Callable[[str], Path]) -> Iterator[GLM]:
    with GLM(tiny_gguf("Q8_0"), options=EngineOptions(threads=1, n_ctx=8192)) as opened:
        yield opened
