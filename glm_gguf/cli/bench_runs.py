"""What `bench` times: prompts and answers of several sequences, behind tokens that are in the KV cache already."""

from __future__ import annotations

import random
import statistics
import string
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from glm_gguf.chat.events import Finish, Usage
from glm_gguf.errors import EngineError
from glm_gguf.llama.sampling_params import SamplingParams

if TYPE_CHECKING:
    from glm_gguf.model import GLM

STEP = 256  # llama.cpp rounds a context up to it
LEAST_SHARE = 0.9
"""Of a prompt: two may begin with the same tokens by chance."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What is measured: lengths in tokens, depths, numbers of sequences, and how often."""

    prompt_tokens: int
    tokens: int
    depths: tuple[int, ...]
    clients: tuple[int, ...]
    repeat: int

    @property
    def n_ctx(self) -> int:
        """Cells of the KV cache that hold all sequences, and their tokens of the round before."""
        longest = max(self.depths) + 2 * max(self.prompt_tokens, self.tokens) + 2
        return -(-longest * max(self.clients) // STEP) * STEP

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence."""
        return max(self.depths) + max(self.prompt_tokens, self.tokens) + 1


@dataclass(frozen=True, slots=True)
class Rates:
    """Medians in tokens a second, of so many sequences at once behind `depth` tokens each."""

    depth: int
    clients: int
    prompt_rate: float
    """Of one prompt."""
    prompts_rate: float
    """Of all prompts together."""
    first_token: float
    """Seconds from a prompt to its first token."""
    answer_rate: float
    """Of one answer."""
    answers_rate: float
    """Of all answers together."""


@dataclass(frozen=True, slots=True)
class Bench:
    """A loaded model and what is measured of it."""

    glm: GLM
    work: Workload

    def run(self) -> Iterator[Rates]:
        """Measure each depth with each number of sequences, the shortest first."""
        self._ask([self._tokens(0, 8)], 4)  # the first answer pays for pages and threads
        for depth in self.work.depths:
            for clients in self.work.clients:
                yield self._rates(depth, clients)

    def _rates(self, depth: int, clients: int) -> Rates:
        prompts, answers = [], []
        for number in range(self.work.repeat):
            before = [self._tokens(client, max(depth, 1)) for client in range(clients)]
            self._ask(before, 1)
            tails = [
                self._tokens((client, number, depth, clients), self.work.prompt_tokens) for client in range(clients)
            ]
            ids = [(start if depth else []) + tail for start, tail in zip(before, tails, strict=True)]
            prompts.append(self._ask(ids, 1))
            self._ask(before, 1)
            answers.append(self._ask(before, self.work.tokens))
        each = [
            (usage.prompt_tokens - usage.cached_tokens, seconds) for run in prompts for seconds, usage in run.answers
        ]
        if min(computed for computed, _ in each) < LEAST_SHARE * self.work.prompt_tokens:
            raise EngineError("the KV cache held a part of the prompts", fix="give larger prompts, or fewer clients")
        singles = [self.work.tokens / seconds for run in answers for seconds, _ in run.answers]
        return Rates(
            depth=depth,
            clients=clients,
            prompt_rate=statistics.median(computed / seconds for computed, seconds in each),
            prompts_rate=sum(computed for computed, _ in each)
            / len(prompts)
            / statistics.median(run.seconds for run in prompts),
            first_token=statistics.median(seconds for _, seconds in each),
            answer_rate=statistics.median(singles),
            answers_rate=self.work.tokens * clients / statistics.median(run.seconds for run in answers),
        )

    def _ask(self, prompts: Sequence[list[int]], tokens: int) -> Timed:
        """Send all prompts at once, and wait for the ends of their answers."""
        start = time.perf_counter()
        with ThreadPoolExecutor(len(prompts)) as pool:
            answers = tuple(pool.map(lambda ids: self._answer(ids, tokens), prompts))
        return Timed(time.perf_counter() - start, answers)

    def _answer(self, ids: list[int], tokens: int) -> tuple[float, Usage]:
        """Return the seconds to the end of an answer of exactly so many tokens, whether they make text or not."""
        sampling = SamplingParams(temperature=0, max_tokens=tokens, ignore_eos=True)
        start, usage = time.perf_counter(), Usage()
        for event in self.glm.stream_completion(ids, sampling):
            if isinstance(event, Finish):
                usage = event.usage
        if usage.completion_tokens != tokens:
            raise EngineError(f"an answer has {usage.completion_tokens} tokens, not {tokens}", fix="run bench again")
        return time.perf_counter() - start, usage

    def _tokens(self, seed: object, count: int) -> list[int]:
        """Return tokens of plain text, the same for equal seeds."""
        known = sorted(set(self.glm.tokenize(string.printable)))
        return random.Random(str(seed)).choices(known, k=count)


@dataclass(frozen=True, slots=True)
class Timed:
    """Seconds until all answers were complete, and those of each with its counts."""

    seconds: float
    answers: tuple[tuple[float, Usage], ...]
