"""A model and its contexts, opened as GLM does it."""

from __future__ import annotations

from pathlib import Path

from glm_gguf.llama.context import Context
from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.llama.load_plan import LoadPlan, Machine
from glm_gguf.llama.model_file import ModelFile
from glm_gguf.llama.model_handle import ModelHandle


def planned(file: ModelFile, options: EngineOptions) -> LoadPlan:
    """Decide how a file is loaded and run here."""
    return LoadPlan.of(file.contents, options, Machine.here(options))


def opened(path: Path, options: EngineOptions) -> ModelHandle:
    """Load a file."""
    file = ModelFile.open(path, options.lora)
    return ModelHandle(file, planned(file, options))


def context_of(model: ModelHandle, options: EngineOptions) -> Context:
    """Make a context whose options may differ from those that the model was loaded with."""
    return Context(model, planned(model.file, options))
