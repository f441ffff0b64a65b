"""An engine that delivers recorded answers, token by token, to whatever prompt it is given."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glm_gguf.answers.answer_preparer import AnswerPreparer
from glm_gguf.engine.delivery import AnswerFailed, Delivery, Ended, SampledToken, Started
from glm_gguf.engine.request import Request, RequestHandle
from glm_gguf.errors import GlmGgufError
from glm_gguf.model import GLM

Answer = str | GlmGgufError
"""Text with its control tokens, or the error by which the engine ends the answer."""
Script = Iterable[Answer] | Callable[[str], Answer]
"""The answers in order, or what a prompt is answered with."""


@dataclass(frozen=True)
class Size:
    n_ctx: int


class ScriptedEngine:
    """Answers requests with a script. It keeps to max_tokens and to deadlines, as the engine does."""

    most_requests = 1

    def __init__(self, glm: GLM, script: Script, n_ctx: int) -> None:
        self._glm = glm
        answers = iter(()) if callable(script) else iter(script)
        self._script = script if callable(script) else lambda _: next(answers)
        self.size = Size(n_ctx)
        self.requests: list[Request] = []
        self.prompts: list[str] = []
        """The prompts that it was given, as text."""

    def check(self, prompt: Sequence[int], field: str = "prompt") -> None:
        assert len(prompt) < self.size.n_ctx, "the prompt does not fit"

    def check_caller(self) -> None:
        """Any thread may wait."""

    def submit(self, request: Request, deliver: Callable[[Delivery], None]) -> RequestHandle:
        self.requests.append(request)
        self.prompts.append(self._glm.detokenize(request.prompt))
        answer = self._script(self.prompts[-1])
        handle = RequestHandle(request, deliver)
        if isinstance(answer, GlmGgufError):
            handle.deliver(AnswerFailed(answer))
            return handle
        handle.deliver(Started(0, time.perf_counter()))
        ids = self._glm._model.vocabulary.parsed_ids(answer)
        kept = ids[: request.sampling.max_tokens]
        for token_id in kept:
            handle.deliver(SampledToken(token_id, at=time.perf_counter()))
        late = request.deadline < time.monotonic()
        handle.deliver(Ended("timeout" if late else "length" if len(kept) < len(ids) else "stop"))
        return handle

    def cancel(self, handle: RequestHandle) -> None:
        handle.cancelled = True


@contextmanager
def scripted(path: Path, script: Script, n_ctx: int = 16384) -> Iterator[tuple[GLM, ScriptedEngine]]:
    """Open a model whose answers are the script's."""
    with GLM(path, options={"threads": 1, "n_ctx": n_ctx, "n_gpu_layers": 0}) as glm:
        engine = ScriptedEngine(glm, script, n_ctx)
        taken: Any = engine
        glm._preparer = AnswerPreparer(glm._model, taken, glm._options)
        yield glm, engine


def call(name: str, arguments: str = "{}", thought: str = "I think.") -> str:
    """Return an answer of Rumination that calls a tool."""
    return f'\n<think>\n{thought}\n</think>\n{{"name": "{name}", "arguments": {arguments}}}<|observation|>'


def text(words: str, thought: str = "I write.") -> str:
    """Return an answer of Rumination without a call."""
    return f"\n<think>\n{thought}\n</think>\n{words}<|user|>"
