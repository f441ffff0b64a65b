"""A small model, loaded once for all tests of the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from engine.conversations import EXACT

from glm_gguf.engine.context import Context
from glm_gguf.engine.model_handle import ModelHandle
from glm_gguf.engine.options import EngineOptions

ONE_THREAD = EngineOptions(threads=1, n_ctx=512, n_gpu_layers=0)


@pytest.fixture(scope="session")
def model(tiny_gguf: Callable[[str], Path]) -> Iterator[ModelHandle]:
    """The tiny model as Q8_0."""
    with ModelHandle(tiny_gguf("Q8_0"), ONE_THREAD) as handle:
        yield handle


@pytest.fixture(scope="session")
def exact_model(tiny_gguf: Callable[[str], Path]) -> Iterator[ModelHandle]:
    """The tiny model as F32."""
    with ModelHandle(tiny_gguf("F32"), EXACT) as handle:
        yield handle


@pytest.fixture
def context(model: ModelHandle) -> Iterator[Context]:
    """A fresh context of 512 tokens."""
    with Context(model, ONE_THREAD) as made:
        yield made
