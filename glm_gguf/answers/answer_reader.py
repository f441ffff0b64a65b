"""Turn the tokens of one answer into its events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

from glm_gguf.answers.stop_text_filter import StopTextFilter
from glm_gguf.chat.detokenizer import Detokenizer, TokenBytes
from glm_gguf.chat.events import (
    Event,
    Finish,
    FinishReason,
    PrefillProgress,
    TextDelta,
    Timings,
    TokenLogprob,
    Usage,
)
from glm_gguf.engine.delivery import AnswerFailed, Delivery, DraftVerified, Ended, Prefilled, SampledToken, Started
from glm_gguf.engine.request import Request
from glm_gguf.errors import GlmGgufError, as_engine_error


class TokenReader(Protocol):
    """Makes events of tokens: TokenParser for a chat, ContinuationReader for a continued text."""

    @property
    def has_calls(self) -> bool:
        """The reader has reported at least one call."""

    @property
    def in_thought(self) -> bool:
        """The next token belongs to the thought."""

    def feed(self, token_id: int) -> Iterator[Event]:
        """Take the next token."""

    def flush(self) -> Iterator[Event]:
        """End the output."""


class ContinuationReader:
    """A TokenReader for a continued text: every token but the stop token is text."""

    has_calls = False
    in_thought = False

    def __init__(self, token_bytes: TokenBytes, eog_ids: frozenset[int]) -> None:
        self._detokenizer = Detokenizer(token_bytes)
        self._eog_ids = eog_ids

    def feed(self, token_id: int) -> Iterator[Event]:
        """Yield a token's text."""
        text = "" if token_id in self._eog_ids else self._detokenizer.feed(token_id)
        if text:
            yield TextDelta(text)

    def flush(self) -> Iterator[Event]:
        """Yield the rest; an unfinished character becomes U+FFFD."""
        rest = self._detokenizer.flush()
        if rest:
            yield TextDelta(rest)


class AnswerReader:
    """The events of one answer; `done` after its Finish.

    Usage does not count the last `uncounted` tokens of the prompt: they open the answer. With `progress` there are
    events of the prompt's prefill.
    """

    def __init__(
        self,
        reader: TokenReader,
        token_bytes: TokenBytes,
        request: Request,
        uncounted: int = 0,
        *,
        progress: bool = False,
    ) -> None:
        self._reader = reader
        self._token_bytes = token_bytes
        self._stops = StopTextFilter(request.sampling.stop or ())
        self._usage = Usage(len(request.prompt) - uncounted)
        self._progress = progress
        self._admitted: float | None = None
        self._first: float | None = None  # time of the first token after the admission: a grammar may force some before
        self._last = 0.0  # time of the last token
        self.done = False

    def feed(self, delivery: Delivery) -> Iterator[Event]:
        """Take a delivery of the engine. Raises the error that ends the answer, and is done then."""
        try:
            yield from self._events(delivery)
        except GlmGgufError:
            self.done = True
            raise
        except Exception as error:  # of the detokenizer, for example: it ends this answer
            self.done = True
            raise as_engine_error(error) from error

    def _events(self, delivery: Delivery) -> Iterator[Event]:
        match delivery:
            case Started(cached_tokens, at):
                self._admitted = at
                cached = min(cached_tokens, self._usage.prompt_tokens - 1)  # one token is computed in any case
                self._usage = replace(self._usage, cached_tokens=cached)
            case Prefilled(tokens):
                if self._progress:
                    total = self._usage.prompt_tokens
                    yield PrefillProgress(min(tokens, total), total, self._usage.cached_tokens)
            case SampledToken():
                yield from self._read(delivery)
            case DraftVerified(drafted, accepted):
                drafted += self._usage.drafted_tokens
                accepted += self._usage.accepted_tokens
                self._usage = replace(self._usage, drafted_tokens=drafted, accepted_tokens=accepted)
            case Ended(reason):
                yield from self._filter(self._reader.flush())
                if not self.done:
                    yield from self._stops.flush()
                    yield self._finish("tool_calls" if reason == "stop" and self._reader.has_calls else reason)
            case AnswerFailed(error):
                raise error

    def _read(self, sampled: SampledToken) -> Iterator[Event]:
        """Count a token and yield its events."""
        if self._first is None and self._admitted is not None:
            self._first = sampled.at
        self._last = sampled.at
        usage = self._usage
        reasoning = usage.reasoning_tokens + self._reader.in_thought
        self._usage = replace(usage, completion_tokens=usage.completion_tokens + 1, reasoning_tokens=reasoning)
        if sampled.logprob is not None:
            yield token_logprob(sampled, self._token_bytes)
        yield from self._filter(self._reader.feed(sampled.token_id))

    def _filter(self, events: Iterator[Event]) -> Iterator[Event]:
        """Yield events up to a stop text."""
        for event in events:
            yield from self._stops.feed(event)
            if self._stops.found is not None:
                yield self._finish("stop")
                return

    def _finish(self, reason: FinishReason) -> Finish:
        self.done = True
        return Finish(reason, self._usage, stop_text=self._stops.found, timings=self._timings())

    def _timings(self) -> Timings:
        if self._admitted is None or self._first is None:
            return Timings()
        return Timings(self._first - self._admitted, self._last - self._first)


def token_logprob(sampled: SampledToken, token_bytes: TokenBytes) -> TokenLogprob:
    """Return a token and its likeliest alternatives as text; the first token of a text has the log probability 0."""
    likeliest = (TokenLogprob(token_bytes(index), value) for index, value in sampled.alternatives)
    return TokenLogprob(token_bytes(sampled.token_id), sampled.logprob or 0.0, tuple(likeliest))
