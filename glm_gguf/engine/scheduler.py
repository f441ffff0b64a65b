"""Continuous batching: many answers on one context, joining and leaving at any step."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any

from glm_gguf.engine.batch_shares import HALVED, half, shares
from glm_gguf.engine.batch_slice import Part, cut
from glm_gguf.engine.common_length import common_length
from glm_gguf.engine.delivery import Delivery, Drawn, Ended, Failed
from glm_gguf.engine.exclusive_batch import ExclusiveBatch
from glm_gguf.engine.host_cache import SHORTEST_RUN_ON_GPU, HostCache
from glm_gguf.engine.kv_cache import KvCache
from glm_gguf.engine.mask_thread import Masks, MaskThread
from glm_gguf.engine.masking import Bias, Mask
from glm_gguf.engine.outbox import Outbox
from glm_gguf.engine.prompt_job import Reading
from glm_gguf.engine.request import Ticket
from glm_gguf.engine.running_sequence import Sequence
from glm_gguf.engine.status import EngineStatus
from glm_gguf.errors import EngineError
from glm_gguf.llama.batch import Batch
from glm_gguf.llama.context import Context
from glm_gguf.llama.engine_options import Scales
from glm_gguf.llama.load_plan import LoadPlan
from glm_gguf.llama.sampler import Sampler
from glm_gguf.llama.vocabulary import Vocabulary

_WORTH_WAITING = 32
"""Tokens: fewer are computed again sooner than they come out of the batch that holds them."""
_PATIENCE = 100
"""A batch waits at most one in so many parts of what the last one took."""


class Scheduler:
    """The queue, the running answers and the KV cache; everything here happens on the engine's thread."""

    def __init__(self, context: Context, vocabulary: Vocabulary, plan: LoadPlan) -> None:
        self._context = context
        self._vocabulary = vocabulary
        self._plan = plan
        self._n_parallel = plan.options.n_parallel
        self._batch = Batch(plan.batches.alone)
        host = HostCache(plan.n_host_cache, SHORTEST_RUN_ON_GPU if plan.offload.gpus else 1)
        self.cache = KvCache(context, plan.size.n_cells, plan.size.n_running, host)
        self._outbox = Outbox()
        self._waiting: deque[Sequence] = deque()
        self._running: list[Sequence] = []
        self._readings: deque[Reading[Any]] = deque()
        self.mask_thread = MaskThread()
        self.lone = ExclusiveBatch(context)
        self.steps = 0
        self.patience = 0.0
        """Seconds that the next batch waits for a request: who got an answer may go on at once, as agents do."""
        self._turn: Scales | None = None  # of the adapters that the last batch was computed with

    @property
    def busy(self) -> bool:
        """Something is to be done."""
        return bool(self._waiting or self._running or self._readings)

    @property
    def load(self) -> int:
        """Count the requests that wait or run."""
        return len(self._waiting) + len(self._running)

    def give_way(self) -> None:
        """Have the batch under way given up for who comes now, if he should not wait for it; any thread may call it."""
        if self.load == 1 < self._n_parallel:
            self.lone.give_way()

    @property
    def status(self) -> EngineStatus:
        """Counts of what there is."""
        running, waiting, texts = len(self._running), len(self._waiting), len(self._readings)
        cells = self.cache.used, self.cache.n_cells, self.cache.host.used
        return EngineStatus(running, waiting, texts, *cells, self.steps)

    def add(self, ticket: Ticket) -> None:
        """Put a request at the end of the line."""
        try:
            bias = Bias(ticket.request.sampling, self._vocabulary)
            sampler = Sampler(ticket.request.sampling, self._vocabulary)
        except Exception as error:  # it ends this answer alone
            self._outbox.put(ticket, Failed.by(error))
            return
        sequence = Sequence(ticket, sampler, bias, self._plan.size.n_ctx, self._outbox)
        self._waiting.append(sequence)
        self._append(sequence, sequence.forced())

    def add_reading(self, reading: Reading[Any]) -> None:
        """Put a text that is to be embedded or scored in line; texts take turns with the answers."""
        self._readings.append(reading)

    def step(self) -> None:
        """Compute one batch: what is being written, and prompts as far as there is room."""
        begun = time.monotonic()
        self._drop_cancelled()
        self._admit()
        self._read()
        parts = self._next_batch()
        masks = self.mask_thread.start(parts)
        self._outbox.hand_out()  # who was ended so far need not wait for the batch
        running = len(self._running)
        if parts and self._decode(parts):
            for part in parts:
                self._sample(part, masks)
        room = 0 < len(self._running) < running and not self._waiting
        self.patience = (time.monotonic() - begun) / _PATIENCE if room else 0.0
        self._outbox.hand_out()

    def close(self, error: Callable[[], EngineError]) -> None:
        """End every request with an error, a new one each; the cells are left as they are, for the context goes."""
        ended = [*self._running, *self._waiting]
        self._running.clear()
        self._waiting.clear()
        for sequence in ended:
            self._outbox.put(sequence.ticket, Failed(error()))
            sequence.sampler.close()
        self._outbox.hand_out()
        while self._readings:
            self._readings.popleft().fail(error())
        self.cache.host.clear()
        self.mask_thread.close()

    def _drop_cancelled(self) -> None:
        """Take out what was cancelled or has run out of time."""
        now = time.monotonic()
        for sequence in [*self._running, *self._waiting]:
            if sequence.ticket.cancelled or now >= sequence.ticket.request.deadline:
                self._end(sequence, Ended("timeout"))

    def _admit(self) -> None:
        """Give those who wait a place, in order, where there is room; who shares a prompt being read waits for it."""
        for sequence in list(self._waiting):
            if len(self._running) >= self._n_parallel:
                return
            if self._is_being_read(sequence):
                continue
            if self._running and not self.cache.has_room(sequence.tokens, sequence.scales):
                return
            # The last token is computed again even if it is there: its logits are wanted.
            prefix = self.cache.take(sequence.tokens[:-1], sequence.scales)
            self._waiting.remove(sequence)  # behind what may fail: at no moment is it in neither list
            sequence.place(prefix)
            self._running.append(sequence)

    def _is_being_read(self, waiting: Sequence) -> bool:
        """Tell whether a running prompt will soon have many more of its tokens in the cache than there are now.

        Which one that is is remembered: to look for it anew in every step takes milliseconds with hundreds in line.
        """
        if waiting.awaited is not None and _is_reading(*waiting.awaited):
            return True
        waiting.awaited = None
        tokens = waiting.tokens[:-1]
        for sequence in self._running:
            if sequence.pending > 1 and sequence.scales == waiting.scales:
                common = common_length(sequence.tokens, tokens)
                if (
                    _is_reading(sequence, common)
                    and common >= self.cache.known(tokens, waiting.scales) + _WORTH_WAITING
                ):
                    waiting.awaited = sequence, common
                    return True
        return False

    def _read(self) -> None:
        """Compute the next pieces of texts to embed or score, as many tokens as prompts get beside answers."""
        left = self._plan.batches.beside_answers
        while self._readings and left > 0:
            first = self._readings[0]
            size = first.piece_size(self._batch.capacity)
            if not self.cache.make_room(size) and len(self._running) > 1:
                self._preempt_latest()  # for its room an answer has to wait
            if first.advance(self._context, self._batch, self.cache):
                self._readings.popleft()
            elif not first.begun:
                return
            left -= size

    def _next_batch(self) -> list[Part]:
        """Decide the next batch; where cells run out, the youngest answer goes back into the line."""
        while self._running:
            together = self._next_in_turn()
            batches = self._plan.batches
            alone = len(self._running) == 1 and not self._readings
            n_batch = batches.alone if alone else batches.shared
            given = shares([sequence.pending for sequence in together], n_batch, batches.beside_answers)
            if self._plan.in_tiles and sum(given) in HALVED:
                given = half(given, [sequence.last_step for sequence in together])
            if self.cache.make_room(sum(given)):
                return list(cut(together, given))
            self._preempt()
        return []

    def _next_in_turn(self) -> list[Sequence]:
        """Choose who is computed together: llama.cpp has one mix of adapters a batch, so the mixes take turns."""
        mixes = list(dict.fromkeys(sequence.scales for sequence in self._running))
        place = mixes.index(self._turn) + 1 if self._turn in mixes else 0
        self._turn = mixes[place % len(mixes)]
        return [sequence for sequence in self._running if sequence.scales == self._turn]

    def _preempt(self) -> None:
        """Free cells that are in use: of the answer that was admitted last, of a text where there is one answer only.

        A text is soon done, and would never be if it had to begin anew whenever cells are short.
        """
        if len(self._running) > 1:
            self._preempt_latest()
        elif not any(reading.restart(self.cache) for reading in self._readings):
            self._end(self._running[0], Failed(EngineError("the KV cache has no room for one answer")))

    def _preempt_latest(self) -> None:
        """Put the answer that was admitted last back into the line."""
        sequence = self._running[-1]
        self.cache.release(sequence.held)
        self._running.pop()
        sequence.prefix = None
        self._waiting.appendleft(sequence)

    def _decode(self, parts: list[Part]) -> bool:
        """Compute a batch and note what is in the cache; False where it did not go through."""
        self._batch.clear()
        for part in parts:
            self._batch.add(part.prefix.sequence, len(part.prefix.tokens), part.tokens, outputs=part.final)
            part.sequence.last_step = self.steps
        self.steps += 1
        lone = parts[0].sequence.ticket if len(parts) == 1 else None
        done = False
        self.lone.begin(lone, len(self._batch))
        try:
            self._context.use_adapters(parts[0].prefix.scales)
            done = self._context.decode(self._batch)
        except EngineError as error:
            self._give_up(parts, error)
            return False
        finally:
            self.lone.end(done=done)
        for part in parts:
            if done:
                self.cache.extend(part.prefix, part.tokens)
            else:
                self.cache.undo(part.prefix)
        return done

    def _give_up(self, parts: list[Part], error: EngineError) -> None:
        """End the answers of a batch that llama.cpp refused."""
        for part in parts:
            self.cache.undo(part.prefix)
            self._end(part.sequence, Failed(EngineError(error.what, path=error.path, where=error.where, fix=error.fix)))

    def _sample(self, part: Part, masks: Masks) -> None:
        """Draw a token behind a part that is complete."""
        if part.final:
            self._append(part.sequence, self._drawn(part, masks.get(part.row)))

    def _drawn(self, part: Part, mask: Future[Mask | None] | None) -> Iterator[Drawn]:
        """Yield a token that the mask allows, and those that must come behind it."""
        yield part.sequence.draw(self._context, part.row, None if mask is None else mask.result())
        yield from part.sequence.forced()

    def _append(self, sequence: Sequence, tokens: Iterable[Drawn]) -> None:
        """Add tokens to an answer until it ends with one; what goes wrong, in a constraint say, ends it alone."""
        try:
            reasons = (sequence.append(drawn, self._vocabulary.stop_ids) for drawn in tokens)
            reason = next((reason for reason in reasons if reason is not None), None)
            delivery: Delivery | None = None if reason is None else Ended(reason)
        except BaseException as error:  # a constraint may raise anything, SystemExit too
            delivery = Failed.by(error)
        if delivery is not None:
            self._end(sequence, delivery)

    def _end(self, sequence: Sequence, delivery: Delivery) -> None:
        """Take an answer out; its tokens stay in the cache as long as there is room."""
        self._outbox.put(sequence.ticket, delivery)  # first: it is told whatever happens here
        sequence.sampler.close()
        if sequence in self._waiting:
            self._waiting.remove(sequence)
        if sequence in self._running:
            self._running.remove(sequence)
            self.cache.release(sequence.held)
            sequence.prefix = None


def _is_reading(sequence: Sequence, length: int) -> bool:
    """Tell whether a prompt is in prefill, and lacks many of its first `length` tokens."""
    prefix = sequence.prefix
    return prefix is not None and sequence.pending > 1 and length >= len(prefix.tokens) + _WORTH_WAITING
