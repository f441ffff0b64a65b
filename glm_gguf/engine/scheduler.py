"""Continuous batching: sequences share the batches of one context, and join or leave at any step."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from glm_gguf.engine.abortable_batch import AbortableBatch
from glm_gguf.engine.awaited_prefill import awaits_prefill
from glm_gguf.engine.batch_curve import MOST_ROWS
from glm_gguf.engine.batch_shares import HALVED, half, shares
from glm_gguf.engine.batch_slice import BatchSlice, next_mix, slices
from glm_gguf.engine.delivery import AnswerFailed, Delivery, DraftVerified, Ended, SampledToken
from glm_gguf.engine.delivery_buffer import DeliveryBuffer
from glm_gguf.engine.draft import NO_DRAFT
from glm_gguf.engine.draft_model import DraftModel
from glm_gguf.engine.drafter import Drafter
from glm_gguf.engine.host_cache import SHORTEST_RUN_ON_GPU, HostCache
from glm_gguf.engine.kv_cache import KvCache
from glm_gguf.engine.mask_thread import Masks, MaskThread
from glm_gguf.engine.masking import Bias
from glm_gguf.engine.prompt_job import PromptJob
from glm_gguf.engine.request import RequestHandle
from glm_gguf.engine.running_sequence import RunningSequence
from glm_gguf.engine.status import EngineStatus
from glm_gguf.engine.token_trie import common_length
from glm_gguf.errors import EngineError, WorkerLostError
from glm_gguf.llama.batch import Batch
from glm_gguf.llama.context import Context
from glm_gguf.llama.engine_options import Scales
from glm_gguf.llama.load_plan import LoadPlan
from glm_gguf.llama.sampler import Sampler
from glm_gguf.llama.vocabulary import Vocabulary

NO_CELLS = "the KV cache has too few cells for one answer"
_LINGER_SHARE = 100
"""The engine lingers before a batch for at most one in so many parts of the last step's time."""


class Scheduler:
    """The queue, the running sequences and the KV cache. The engine's thread calls all that is not for any thread."""

    def __init__(
        self, context: Context, vocabulary: Vocabulary, plan: LoadPlan, draft_model: DraftModel | None = None
    ) -> None:
        self._context = context
        self._vocabulary = vocabulary
        self._plan = plan
        self._n_parallel = plan.options.n_parallel
        self._batch = Batch(plan.batches.alone)
        host = HostCache(plan.n_host_cache, SHORTEST_RUN_ON_GPU if plan.offload.gpus else 1)
        self.cache = KvCache(context, plan.size.n_cells, plan.size.n_running, host)
        self._deliveries = DeliveryBuffer()
        self._waiting: deque[RunningSequence] = deque()
        self._running: list[RunningSequence] = []
        self._jobs: deque[PromptJob[Any]] = deque()
        self.mask_thread = MaskThread()
        self.batch_under_way = AbortableBatch(context)
        self._drafter = Drafter(plan.options.draft, draft_model)
        self.steps = 0
        self.linger_seconds = 0.0
        """Seconds that the engine waits for a new request before the next batch: an agent answers at once."""
        self._last_scales: Scales | None = None  # of the adapters in the last batch

    @property
    def busy(self) -> bool:
        """There is a sequence or a prompt job to compute."""
        return bool(self._waiting or self._running or self._jobs)

    @property
    def load(self) -> int:
        """Count the requests that wait or run. Any thread may ask."""
        return len(self._waiting) + len(self._running)

    def preempt_batch(self) -> None:
        """Abort the batch under way for a new request, if it is preemptible. Any thread may call it."""
        if self.load == 1 < self._n_parallel:
            self.batch_under_way.preempt()

    @property
    def status(self) -> EngineStatus:
        """Counts of requests and cells. Any thread may ask; the counts may be a step old."""
        running, waiting, texts = len(self._running), len(self._waiting), len(self._jobs)
        cells = self.cache.used, self.cache.n_cells, self.cache.host.used
        drafts = self._drafter.drafted, self._drafter.accepted
        return EngineStatus(running, waiting, texts, *cells, self.steps, *drafts)

    def add(self, handle: RequestHandle) -> None:
        """Append a request to the queue."""
        try:
            bias = Bias(handle.request.sampling, self._vocabulary)
            sampler = Sampler(handle.request.sampling, self._vocabulary)
        except Exception as error:  # it ends this answer alone
            self._deliveries.put(handle, AnswerFailed.by(error))
            return
        sequence = RunningSequence(handle, sampler, bias, self._plan.size.n_ctx, self._deliveries)
        self._waiting.append(sequence)
        self._append(sequence, sequence.forced())

    def add_job(self, job: PromptJob[Any]) -> None:
        """Queue a text to embed or score; every step computes a piece of it beside the answers."""
        self._jobs.append(job)

    def step(self) -> None:
        """Compute one batch: the sequences in decode, and prefill as far as the batch has room."""
        begun = time.monotonic()
        self._drop_cancelled()
        self._admit()
        self._advance_jobs()
        self._drafter.propose([*self._running], lambda one, error: self._end(one, AnswerFailed.by(error)))
        slices = self._next_batch()
        masks = self.mask_thread.start(slices)
        self._deliveries.flush()  # answers that ended so far need not wait for the batch
        running = len(self._running)
        if slices and self._decode(slices):
            for slice_ in slices:
                self._sample(slice_, masks)
        room = 0 < len(self._running) < running and not self._waiting
        self.linger_seconds = (time.monotonic() - begun) / _LINGER_SHARE if room else 0.0
        self._deliveries.flush()

    def close(self, error: Callable[[], EngineError]) -> None:
        """End every request with an error, a new one each. The cells stay: the caller frees the context."""
        ended = [*self._running, *self._waiting]
        self._running.clear()
        self._waiting.clear()
        for sequence in ended:
            self._deliveries.put(sequence.handle, AnswerFailed(error()))
            sequence.sampler.close()
        self._deliveries.flush()
        while self._jobs:
            self._jobs.popleft().fail(error())
        self.cache.host.clear()
        self.mask_thread.close()

    def _drop_cancelled(self) -> None:
        """End the cancelled sequences, and those past their deadline."""
        now = time.monotonic()
        for sequence in [*self._running, *self._waiting]:
            if sequence.handle.cancelled or now >= sequence.handle.request.deadline:
                self._end(sequence, Ended("timeout"))

    def _admit(self) -> None:
        """Admit waiting sequences in order while cells last; one that shares a prompt in prefill waits for it."""
        for sequence in list(self._waiting):
            if len(self._running) >= self._n_parallel:
                return
            if awaits_prefill(sequence, self._running, self.cache):
                continue
            if self._running and not self.cache.has_room(sequence.tokens, sequence.scales):
                return
            # The last token is computed again even if it is cached: sampling needs its logits.
            prefix = self.cache.pin(sequence.tokens[:-1], sequence.scales)
            self._waiting.remove(sequence)  # after the call that may fail: it is always in one of the two lists
            sequence.admit(prefix)
            self._running.append(sequence)

    def _advance_jobs(self) -> None:
        """Compute the next pieces of texts to embed or score, as many tokens as prompts get beside answers."""
        left = self._plan.batches.beside_answers
        while self._jobs and left > 0:
            first = self._jobs[0]
            size = first.piece_size(self._batch.capacity)
            if not self.cache.make_room(size) and len(self._running) > 1:
                self._preempt_latest()  # its cells go to the job
            if first.advance(self._context, self._batch, self.cache):
                self._jobs.popleft()
            elif not first.begun:
                return
            left -= size

    def _next_batch(self) -> list[BatchSlice]:
        """Decide the next batch; where cells run out, preempt the latest sequence."""
        while self._running:
            together = next_mix(self._running, self._last_scales)
            self._last_scales = together[0].scales
            batches = self._plan.batches
            alone = len(self._running) == 1 and not self._jobs
            n_batch = batches.alone if alone else batches.shared
            given = shares([sequence.pending for sequence in together], n_batch, batches.beside_answers)
            if self._plan.in_tiles and sum(given) in HALVED:
                given = half(given, [sequence.last_step for sequence in together])
            drafts = self._drafter.drafts(together, given, self._batch.capacity)
            drafted = sum(len(draft.tokens) for draft in drafts)
            if drafted and not self.cache.make_room(sum(given) + drafted):
                drafted, drafts = 0, [NO_DRAFT] * len(together)
            if drafted or self.cache.make_room(sum(given)):
                return list(slices(together, given, drafts))
            self._preempt()
        return []

    def _preempt(self) -> None:
        """Preempt the latest sequence; with only one running, restart a prompt job instead.

        A job is preempted last because it restarts from its first token, and would never end if that came often.
        """
        if len(self._running) > 1:
            self._preempt_latest()
        elif not any(job.restart(self.cache) for job in self._jobs):
            self._end(self._running[0], AnswerFailed(EngineError(NO_CELLS, fix="give a larger n_ctx")))

    def _preempt_latest(self) -> None:
        """Unpin the sequence that was admitted last, and put it back at the head of the queue."""
        sequence = self._running[-1]
        self.cache.unpin(sequence.pinned)
        self._running.pop()
        sequence.prefix = None
        self._waiting.appendleft(sequence)

    def _decode(self, slices: list[BatchSlice]) -> bool:
        """Compute a batch and append its tokens to the cache; False where it was aborted or refused."""
        self._batch.clear()
        for slice_ in slices:
            tokens = slice_.tokens + slice_.draft.tokens
            outputs = slice_.final + len(slice_.draft.tokens)
            self._batch.add(slice_.prefix.sequence, len(slice_.prefix.tokens), tokens, outputs=outputs)
            slice_.sequence.last_step = self.steps
        self.steps += 1
        only = slices[0].sequence.handle if len(slices) == 1 else None
        done = False
        self.batch_under_way.begin(only, len(self._batch))
        try:
            self._context.use_adapters(slices[0].prefix.scales)
            done = self._computed()
        except WorkerLostError:  # it took a part of the KV cache along: the engine ends
            raise
        except EngineError as error:
            self._fail(slices, error)
            return False
        finally:
            self.batch_under_way.end(done=done)
        for slice_ in slices:
            if done:
                self.cache.append(slice_.prefix, slice_.tokens)
                slice_.sequence.note_batch()
            else:
                self.cache.rollback(slice_.prefix)
        return done

    def _computed(self) -> bool:
        """Compute the batch; measure it where each of its rows is sampled."""
        begun, done = time.monotonic(), self._context.decode(self._batch)
        if done and self._batch.n_outputs == len(self._batch) <= MOST_ROWS:
            self._context.synchronize()
            self._drafter.note_batch(len(self._batch), time.monotonic() - begun)
        return done

    def _fail(self, slices: list[BatchSlice], error: EngineError) -> None:
        """End the answers of a batch that llama.cpp refused."""
        for slice_ in slices:
            self.cache.rollback(slice_.prefix)
            copy = EngineError(error.what, path=error.path, where=error.where, fix=error.fix)
            self._end(slice_.sequence, AnswerFailed(copy))

    def _sample(self, slice_: BatchSlice, masks: Masks) -> None:
        """Sample a sequence whose tokens are all computed: the next token, and one more for each right draft token."""
        if not slice_.final:
            return
        sequence, draft = slice_.sequence, slice_.draft
        length = len(sequence.tokens)
        end = self._extend(sequence, slice_.sampled(self._context, masks.get(slice_.row)))
        new = sequence.tokens[length:]
        if draft.tokens:
            accepted = common_length(new, draft.tokens)
            self.cache.append(slice_.prefix, draft.tokens[:accepted])
            self.cache.rollback(slice_.prefix)
            self._drafter.note(sequence, draft, accepted)
            self._deliveries.put(sequence.handle, DraftVerified(len(draft.tokens), accepted))
        elif new:
            self._drafter.watch(sequence, new[0])
        if end is not None:
            self._end(sequence, end)

    def _append(self, sequence: RunningSequence, tokens: Iterable[SampledToken]) -> None:
        """Append tokens to an answer; end it where one of them does."""
        end = self._extend(sequence, tokens)
        if end is not None:
            self._end(sequence, end)

    def _extend(self, sequence: RunningSequence, tokens: Iterable[SampledToken]) -> Delivery | None:
        """Append tokens until one ends the answer; return its end. An error, such as a constraint's, ends it too."""
        try:
            reasons = (sequence.append(token, self._vocabulary.eog_ids) for token in tokens)
            reason = next((reason for reason in reasons if reason is not None), None)
            return None if reason is None else Ended(reason)
        except BaseException as error:  # a constraint may raise anything, SystemExit too
            return AnswerFailed.by(error)

    def _end(self, sequence: RunningSequence, delivery: Delivery) -> None:
        """End an answer; its prefix stays in the cache until it is evicted."""
        self._deliveries.put(sequence.handle, delivery)  # first: the caller hears of the end whatever fails below
        sequence.sampler.close()
        if sequence in self._waiting:
            self._waiting.remove(sequence)
        if sequence in self._running:
            self._running.remove(sequence)
            self.cache.unpin(sequence.pinned)
            sequence.prefix = None
