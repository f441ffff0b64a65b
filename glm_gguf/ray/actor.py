"""The actor that answers requests: one model in one process. It does not import Ray."""

from __future__ import annotations

import asyncio
import os
import pickle
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import numpy as np

from glm_gguf.answers.accepted_keywords import engine_options
from glm_gguf.batches.answer_lines import AnswerRequest, answer_line, first_error
from glm_gguf.batches.result_line import LineResult
from glm_gguf.errors import GlmGgufError, RequestError
from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.llama.sampling_params import SamplingParams
from glm_gguf.loop_thread import LoopThread
from glm_gguf.model import GLM
from glm_gguf.server.batch_model import LOST_SECONDS, batch_model
from glm_gguf.server.settings import ServerSettings

REQUEST = "request"
"""Name of the column that has requests."""
ERROR = "error"
"""Name of the column that has the error of an actor."""


class BatchActor:
    """Answers rows whose column `request` has lines of OpenAI's batch form, with all slots of one model full.

    `options` are the fields of EngineOptions, `sampling` those of SamplingParams: defaults for what requests leave out.
    Several threads may call it at once; then the slots stay full from one call to the next.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        options: EngineOptions | Mapping[str, Any] | None = None,
        sampling: SamplingParams | Mapping[str, Any] | None = None,
        lost_seconds: float = LOST_SECONDS,
    ) -> None:
        """Load the model; raises GlmGgufError. A worker that is lost is awaited for `lost_seconds`."""
        given = engine_options(options, {})
        defaults = sampling if isinstance(sampling, SamplingParams) else SamplingParams(**(sampling or {}))
        settings = ServerSettings(Path(path).stem, sampling=defaults)
        self._slots = asyncio.Semaphore(2 * given.n_parallel)
        served = batch_model(settings, GLM(path, options=given), lambda: GLM(path, options=given), lost_seconds)
        self._loop = LoopThread("glm-gguf-batch")
        self._stack = AsyncExitStack()
        self._answer: AnswerRequest = self._loop.submit(self._stack.enter_async_context(served)).result()

    def __call__(self, rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the rows with `result`, `ok`, `prompt_tokens`, `cached_tokens` and `completion_tokens`.

        A `result` is a line of OpenAI's form; it is not ok if the request was refused. Raises RequestError for a row
        without a request, and EngineError if the model fails.
        """
        if REQUEST not in rows:
            raise RequestError(f"the rows have {', '.join(rows)}", field=REQUEST, fix="give this column")
        results = self._loop.submit(self._answered(list(rows[REQUEST]))).result()
        columns: dict[str, list[Any]] = {
            "result": [result.line.decode().rstrip("\n") for result in results],
            "ok": [result.ok for result in results],
            "prompt_tokens": [result.tokens.prompt for result in results],
            "cached_tokens": [result.tokens.cached for result in results],
            "completion_tokens": [result.tokens.completion for result in results],
        }
        return rows | {name: np.array(values, object if name == "result" else None) for name, values in columns.items()}

    def close(self) -> None:
        """Free the model."""
        self._loop.submit(self._stack.aclose()).result()
        self._loop.close()

    async def _answered(self, requests: list[str]) -> list[LineResult]:
        """Answer requests, as many at once as there are slots and a few that wait; raises GlmGgufError."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._one(number, one)) for number, one in enumerate(requests, 1)]
        except* GlmGgufError as errors:
            raise first_error(errors) from None
        return [task.result() for task in tasks]

    async def _one(self, number: int, request: str) -> LineResult:
        async with self._slots:
            return await answer_line(number, str(request).encode(), self._answer)


class TellingBatchActor:
    """A BatchActor whose error is a row: Ray's would bury it under tracebacks, and load the model again and again."""

    def __init__(self, *given: Any) -> None:
        """Load the model, or keep why that failed."""
        self._actor: BatchActor | GlmGgufError
        try:
            self._actor = BatchActor(*given)
        except GlmGgufError as error:
            self._actor = error

    def __call__(self, rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return what BatchActor returns, or one row with the error."""
        try:
            if isinstance(self._actor, GlmGgufError):
                raise self._actor
            return self._actor(rows)
        except GlmGgufError as error:
            return {ERROR: np.array([pickle.dumps(error)], object)}


def told_error(rows: Mapping[str, Any]) -> GlmGgufError | None:
    """Return the error that rows of a TellingBatchActor have; None for results."""
    if ERROR not in rows:
        return None
    error: GlmGgufError = pickle.loads(rows[ERROR][0])
    return error
