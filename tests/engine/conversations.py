"""Random prompts that share prefixes, and answers collected from a scheduler or an engine."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from loading import planned

from glm_gguf.engine.constraint import Constraint
from glm_gguf.engine.delivery import AnswerFailed, Delivery, Ended, SampledToken, Started
from glm_gguf.engine.request import Request, RequestHandle
from glm_gguf.engine.scheduler import Scheduler
from glm_gguf.errors import EngineError
from glm_gguf.llama.context import Context
from glm_gguf.llama.engine_options import CacheType, EngineOptions
from glm_gguf.llama.load_plan import LoadPlan
from glm_gguf.llama.model_handle import ModelHandle
from glm_gguf.llama.sampling_params import SamplingParams

EXACT = EngineOptions(
    threads=1, n_ctx=2048, flash_attention=False, cache_type_k=CacheType.F32, cache_type_v=CacheType.F32
)
"""Batches of any shape give the same logits to 1e-5. llama.cpp's flash attention computes long and short batches with
different kernels: log probabilities then differ by up to 0.02, and a tie between two tokens may fall either way."""
PLAIN = replace(EXACT, draft=0)
"""One token a step and sequence: for tests that count steps."""
GREEDY = SamplingParams(temperature=0, max_tokens=24, ignore_eos=True)
QUESTIONS = ("What is the weather in Paris?", "北京和上海的空气质量怎么样？", "What is 37 plus 58?", "Tell me a joke.")


@dataclass
class Reply:
    """The deliveries of one request."""

    deliveries: list[Delivery] = field(default_factory=list)

    @property
    def tokens(self) -> list[int]:
        return [item.token_id for item in self.deliveries if isinstance(item, SampledToken)]

    @property
    def cached(self) -> int:
        return next(item.cached_tokens for item in self.deliveries if isinstance(item, Started))

    @property
    def end(self) -> Delivery:
        return self.deliveries[-1]

    @property
    def done(self) -> bool:
        return bool(self.deliveries) and isinstance(self.end, Ended | AnswerFailed)


class Bench:
    """A scheduler driven step by step, without a thread; prefixes are offloaded only where n_host_cache is given."""

    def __init__(self, model: ModelHandle, options: EngineOptions, plan: LoadPlan | None = None) -> None:
        self.model = model
        plan = replace(plan or planned(model.file, options), n_host_cache=options.n_host_cache or 0)
        self.context = Context(model, plan)
        self.scheduler = Scheduler(self.context, model.vocabulary, plan)

    def ask(
        self, prompt: Sequence[int], sampling: SamplingParams = GREEDY, constraint: Constraint | None = None
    ) -> tuple[Reply, RequestHandle]:
        reply = Reply()
        handle = RequestHandle(Request(tuple(prompt), sampling, constraint), reply.deliveries.append)
        self.scheduler.add(handle)
        return reply, handle

    def run(self) -> None:
        while self.scheduler.busy:
            self.scheduler.step()

    def answer(
        self, prompt: Sequence[int], sampling: SamplingParams = GREEDY, constraint: Constraint | None = None
    ) -> Reply:
        reply, _ = self.ask(prompt, sampling, constraint)
        self.run()
        return reply

    def cells_in_use(self) -> int:
        """The tokens that llama.cpp itself finds in all its sequences."""
        return sum(self.context.length(sequence) for sequence in range(256))

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.scheduler.close(lambda: EngineError("the test is over"))
        self.context.close()


def random_prompts(model: ModelHandle, count: int, seed: int) -> list[list[int]]:
    """Prompts of 8 to 300 tokens; most share a prefix with another."""
    generator = random.Random(seed)
    vocabulary = model.vocabulary
    system = vocabulary.parsed_ids("[gMASK]<sop><|system|>\nYou are a helpful assistant that knows some tools.")
    prompts: list[list[int]] = []
    for _ in range(count):
        beginning = generator.choice([*prompts, system, system])
        beginning = beginning[: generator.randint(4, len(beginning))]
        question = " ".join(generator.choices(QUESTIONS, k=generator.randint(1, 5)))
        prompts.append([*beginning, *vocabulary.parsed_ids(f"<|user|>\n{question}<|assistant|>")][-300:])
    return prompts
