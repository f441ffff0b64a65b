"""Open a model's file, and the file of the model that drafts for it; end with an engine that answers."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from glm_gguf.engine.draft_model import DraftModel
from glm_gguf.engine.engine import Engine
from glm_gguf.errors import RequestError
from glm_gguf.llama.context import Context
from glm_gguf.llama.context_size import ContextSize
from glm_gguf.llama.engine_options import DEFAULT_CONTEXT, EngineOptions
from glm_gguf.llama.fingerprint import vocabulary_hash
from glm_gguf.llama.lent_devices import borrowed
from glm_gguf.llama.load_plan import LoadPlan, Machine
from glm_gguf.llama.model_file import ModelFile
from glm_gguf.llama.model_handle import ModelHandle, OnLoading

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OpenEngine:
    """An engine, and what it was made of."""

    file: ModelFile
    plan: LoadPlan
    model: ModelHandle
    engine: Engine


def open_engine(
    path: str | os.PathLike[str], options: EngineOptions, stack: ExitStack, on_loading: OnLoading | None = None
) -> OpenEngine:
    """Load a model and start its engine; `stack` closes both.

    The plan leaves memory for the model that drafts. Raises GlmGgufError for a file or options that cannot be used.
    """
    file = ModelFile.open(path, options.lora)
    machine = Machine.here(options, stack.enter_context(borrowed(options.workers)))
    drafting = None if options.draft_model is None else _draft_file(options.draft_model, file)
    if drafting is not None and machine.memory is not None:
        kept = LoadPlan.estimate(drafting.contents, _draft_options(options, DEFAULT_CONTEXT, drafting), machine.alone)
        machine = replace(machine, memory=max(machine.memory - kept.main_memory, 0))
    plan = LoadPlan.of(file.contents, options, machine)
    LOGGER.info("%s", "; ".join(" ".join(line.split()) for line in plan.lines()))
    model = stack.enter_context(ModelHandle(file, plan, on_loading))
    draft_model = None
    if drafting is not None:
        draft_options = _draft_options(options, plan.size.n_cells, drafting)
        draft_model = _opened(drafting, LoadPlan.of(drafting.contents, draft_options, Machine.here(options)), stack)
    return OpenEngine(file, plan, model, stack.enter_context(Engine(model, plan, draft_model)))


def _draft_file(path: Path, file: ModelFile) -> ModelFile:
    """Read the file of the model that drafts; RequestError where its tokens are others."""
    drafting = ModelFile.open(path)
    if vocabulary_hash(drafting.metadata) != vocabulary_hash(file.metadata):
        fix = "give a smaller model of the same family"
        raise RequestError(f"its vocabulary is not that of {file.path}", field="draft_model", path=path, fix=fix)
    return drafting


def _draft_options(options: EngineOptions, n_ctx: int, drafting: ModelFile) -> EngineOptions:
    """Return the options of the model that drafts: one sequence at a time, in a context no longer than it knows."""
    shared = EngineOptions(
        n_parallel=1,
        n_host_cache=0,
        threads=options.threads,
        threads_batch=options.threads_batch,
        n_gpu_layers=options.n_gpu_layers,
        devices=options.devices,
        flash_attention=options.flash_attention,
    )
    known = ContextSize.of(drafting.contents, shared).n_known
    return replace(shared, n_ctx=min(n_ctx, known))


def _opened(file: ModelFile, plan: LoadPlan, stack: ExitStack) -> DraftModel:
    LOGGER.info("draft model: %s", "; ".join(" ".join(line.split()) for line in plan.lines()))
    return DraftModel(stack.enter_context(Context(stack.enter_context(ModelHandle(file, plan)), plan)))
