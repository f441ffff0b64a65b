"""The continuations of one request while they are written: events to the choices of OpenAI's objects."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from glm_gguf.chat.events import Event, Finish, TextDelta, TokenLogprob, Usage
from glm_gguf.server.completions.response import Completion, CompletionChoice, wire_logprobs
from glm_gguf.server.shown_tokens import ShownTokens
from glm_gguf.server.wire import WireUsage, new_id, wire_usage


class Texts:
    """One response: `starts` are the texts that its choices begin with, and `n` of them answer each prompt."""

    def __init__(self, model: str, fingerprint: str, starts: Sequence[str], n: int, *, logprobs: bool) -> None:
        self._head = Completion(
            id=new_id("cmpl-"),
            object="text_completion",
            created=int(time.time()),
            model=model,
            choices=[],
            system_fingerprint=fingerprint,
        )
        self._n = n
        self._texts = [_Text(index, start, logprobs=logprobs) for index, start in enumerate(starts)]

    def feed(self, index: int, event: Event) -> Iterator[Completion]:
        """Write what is new in a choice."""
        for choice in self._texts[index].feed(event):
            yield self._head.model_copy(update={"choices": [choice]})

    def whole(self) -> Completion:
        """Write all choices, when they have ended."""
        return self._head.model_copy(update={"choices": [text.whole() for text in self._texts], "usage": self._usage()})

    def usage(self) -> Completion:
        """Write the last event of a stream, with the counts and no choice."""
        return self._head.model_copy(update={"usage": self._usage()})

    def nulled(self) -> Texts:
        """Have every event say that the counts are still to come."""
        self._head.usage = None
        return self

    def _usage(self) -> WireUsage:
        usages = [text.usage for text in self._texts]
        return wire_usage([usages[start : start + self._n] for start in range(0, len(usages), self._n)])


class _Text:
    """One choice under way."""

    def __init__(self, index: int, start: str, *, logprobs: bool) -> None:
        self._index = index
        self._start = start
        self._shown = ShownTokens() if logprobs else None
        self._text = ""
        self._tokens: list[TokenLogprob] = []
        self._finish: Finish | None = None

    @property
    def usage(self) -> Usage:
        """Counts, when it has ended."""
        return Usage() if self._finish is None else self._finish.usage

    def feed(self, event: Event) -> Iterator[CompletionChoice]:
        """Write an event, and before the first the beginning."""
        tokens = [] if self._shown is None else self._shown.feed(event)
        if self._start and not self._text:
            self._text = self._start
            yield self._choice(self._start, [], 0)
        match event:
            case TextDelta(text):
                yield self._choice(text, tokens, len(self._text))
                self._text += text
                self._tokens += tokens
            case Finish():
                self._finish = event
                yield self._choice("", [], 0)

    def whole(self) -> CompletionChoice:
        """Write all of it."""
        return self._choice(self._text, self._tokens, len(self._start))

    def _choice(self, text: str, tokens: list[TokenLogprob], offset: int) -> CompletionChoice:
        finish = None if self._finish is None else self._finish.reason
        return CompletionChoice(
            text=text,
            index=self._index,
            logprobs=None if self._shown is None else wire_logprobs(tokens, offset),
            finish_reason=None if finish is None else "stop" if finish == "stop" else "length",
        )
