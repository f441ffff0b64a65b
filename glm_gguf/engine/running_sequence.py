"""One answer under way: its tokens, its prefix in the KV cache, its sampler."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator

from glm_gguf.engine.constraint import fitted_draft, forced_ids
from glm_gguf.engine.delivery import EndReason, Prefilled, SampledToken, Started
from glm_gguf.engine.delivery_buffer import DeliveryBuffer
from glm_gguf.engine.draft import NO_DRAFT, Acceptance, Draft
from glm_gguf.engine.kv_cache import Prefix
from glm_gguf.engine.logprobs import log_probabilities
from glm_gguf.engine.masking import Bias, Mask, forbid
from glm_gguf.engine.ngram_lookup import NgramLookup
from glm_gguf.engine.request import RequestHandle
from glm_gguf.llama.context import Context
from glm_gguf.llama.engine_options import Scales
from glm_gguf.llama.sampler import Sampler


class RunningSequence:
    """Prompt and answer so far; `prefix` holds its tokens that are in the KV cache, and is None while it waits."""

    def __init__(
        self, handle: RequestHandle, sampler: Sampler, bias: Bias, n_ctx: int, deliveries: DeliveryBuffer
    ) -> None:
        self.handle = handle
        self.tokens = list(handle.request.prompt)
        self.prefix: Prefix | None = None
        self.sampler = sampler
        self.last_step = -1
        """Number of its last batch."""
        self.awaited: tuple[RunningSequence, int] | None = None
        """While it waits: the sequence whose prefill computes its beginning too, and how many tokens they share."""
        self.draft = NO_DRAFT
        """What may come next."""
        self.acceptance = Acceptance()
        self._lookup: NgramLookup | None = None
        self._bias = bias
        self._started = False
        self._in_prefill = False
        self._n_ctx = n_ctx
        self._deliveries = deliveries

    @property
    def pending(self) -> int:
        """Tokens still to be computed before the next can be sampled."""
        return len(self.tokens) - (0 if self.prefix is None else len(self.prefix.tokens))

    @property
    def pinned(self) -> Prefix:
        """Its prefix, while it runs."""
        assert self.prefix is not None
        return self.prefix

    @property
    def scales(self) -> Scales:
        """Scales of the adapters that compute it."""
        return self.handle.request.scales

    def admit(self, prefix: Prefix) -> None:
        """Run on a pinned prefix; the first time, deliver how many tokens of the prompt it holds."""
        if not self._started:
            self._started = True
            cached = min(len(prefix.tokens), len(self.handle.request.prompt))
            self._deliveries.put(self.handle, Started(cached, time.perf_counter()))
        self.prefix = prefix

    def note_batch(self) -> None:
        """Deliver how much of the prompt is in the cache, while and after it takes several batches."""
        length = len(self.handle.request.prompt)
        done = min(len(self.pinned.tokens), length)
        if self._in_prefill or done < length:
            self._in_prefill = done < length
            self._deliveries.put(self.handle, Prefilled(done))

    @property
    def draft_room(self) -> int:
        """Tokens that a draft may have: one more is sampled after it, within the answer's limits."""
        request = self.handle.request
        left = self._n_ctx + 1 - len(self.tokens)
        if request.sampling.max_tokens is not None:
            left = min(left, request.sampling.max_tokens - (len(self.tokens) - len(request.prompt)))
        return left - 1

    def draft_from_text(self, most: int) -> None:
        """Draft up to `most` tokens from the sequence itself; none where its last tokens are new in it."""
        self.draft = NO_DRAFT
        if self._lookup is None:
            self._lookup = NgramLookup(self.tokens)
        match = self._lookup.find()
        if match is not None:
            self.take_draft(self._lookup.copied(match, min(most, self.draft_room)), match.length)

    def take_draft(self, tokens: list[int], match: int) -> None:
        """Take a draft as far as the constraint allows it."""
        fitted = fitted_draft(self.handle.request.constraint, tokens, self.sampler.n_vocab)
        self.draft = Draft(fitted, match)

    def mask(self) -> Mask | None:
        """Ask the constraint which tokens may come next."""
        constraint = self.handle.request.constraint
        return None if constraint is None else constraint.allowed()

    def sample(self, context: Context, row: int, mask: Mask | None) -> SampledToken:
        """Sample the next token from a row of the batch, one that the mask allows."""
        logits = context.raw_logits(row)
        alternatives = self.handle.request.sampling.logprobs
        original = logits if alternatives is None else logits.copy()
        if mask is not None:
            forbid(logits, mask)
        self._bias.apply(logits)
        token_id = context.sample(self.sampler, row, logits)
        if alternatives is None:
            return SampledToken(token_id)
        logprob, likeliest = log_probabilities(original, token_id, alternatives)
        return SampledToken(token_id, logprob=logprob, alternatives=likeliest)

    def append(self, token: SampledToken, eog_ids: Collection[int]) -> EndReason | None:
        """Append and deliver a token; returns why the answer ends with it, None where it goes on."""
        request = self.handle.request
        self.tokens.append(token.token_id)
        if request.constraint is not None:
            request.constraint.accept(token.token_id)
        ends_turn = token.token_id in eog_ids and not request.sampling.ignore_eos
        delivered = SampledToken(token.token_id, ends_turn, token.logprob, token.alternatives, time.perf_counter())
        self._deliveries.put(self.handle, delivered)
        if ends_turn or (request.constraint is not None and request.constraint.finished):
            return "stop"
        generated = len(self.tokens) - len(request.prompt)
        full = generated == request.sampling.max_tokens or len(self.tokens) > self._n_ctx
        return "length" if full else None

    def forced(self) -> Iterator[SampledToken]:
        """Yield the tokens that the constraint forces, as long as it returns any."""
        request = self.handle.request
        while request.constraint is not None and (tokens := forced_ids(request.constraint, self.sampler.n_vocab)):
            for token_id in tokens:
                self.sampler.accept(token_id)
                yield SampledToken(token_id, logprob=None if request.sampling.logprobs is None else 0.0)
