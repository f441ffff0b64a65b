"""Translates the events of one request's continuations into OpenAI's completions."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from glm_gguf.chat.events import Event, Finish, FinishReason, PrefillProgress, TextDelta, TokenLogprob, Usage
from glm_gguf.server.bodies.wire import WireUsage, new_id, prompt_progress, wire_usage
from glm_gguf.server.completions.response import (
    Completion,
    CompletionChoice,
    CompletionFinish,
    CompletionForm,
    wire_logprobs,
)
from glm_gguf.server.streams.shown_tokens import ShownTokens
from glm_gguf.server.streams.timings import wire_timings


@dataclass(frozen=True, slots=True)
class Start:
    """The start of a choice: the prompt if `echo` is set, and its tokens if they are scored."""

    text: str = ""
    tokens: tuple[TokenLogprob, ...] = ()


def completion_finish(reason: FinishReason) -> CompletionFinish:
    """Return OpenAI's finish reason; it has none for a passed time limit, which counts as the length."""
    return "stop" if reason == "stop" else "length"


class CompletionWriter:
    """One response: `starts` are the starts of its choices, `n` for each prompt."""

    def __init__(self, model: str, fingerprint: str, starts: Sequence[Start], n: int, form: CompletionForm) -> None:
        self._head = Completion(
            id=new_id("cmpl-"),
            object="text_completion",
            created=int(time.time()),
            model=model,
            choices=[],
            system_fingerprint=fingerprint,
        )
        if form.usage:
            self._head.usage = None  # once set, every chunk but the last has null
        self._n = n
        self._form = form
        self._begun = time.monotonic()
        self._texts = [_Choice(index, start, logprobs=form.logprobs) for index, start in enumerate(starts)]

    def feed(self, index: int, event: Event) -> Iterator[Completion]:
        """Write the next event of a choice."""
        for choice in self._texts[index].feed(event):
            told = {"timings": wire_timings(event)} if isinstance(event, Finish) and choice.finish_reason else {}
            yield self._head.model_copy(update={"choices": [choice]} | told)

    def progress(self, index: int, event: PrefillProgress) -> Completion | None:
        """Write how far a prompt is computed, where the request asked for it."""
        if not self._form.progress:
            return None
        choice = CompletionChoice(index=index, text="", logprobs=None, finish_reason=None)
        return self._head.model_copy(
            update={"choices": [choice], "prompt_progress": prompt_progress(event, self._begun)}
        )

    def whole(self) -> Completion:
        """Write all choices after their end."""
        told = {"choices": [text.whole() for text in self._texts], "usage": self._usage()}
        end = self._texts[0].finish
        return self._head.model_copy(update=told if end is None else told | {"timings": wire_timings(end)})

    def usage(self) -> Completion:
        """Write the last chunk of a stream, with token counts and no choice."""
        return self._head.model_copy(update={"usage": self._usage()})

    def _usage(self) -> WireUsage:
        usages = [text.usage for text in self._texts]
        return wire_usage([usages[start : start + self._n] for start in range(0, len(usages), self._n)])


class _Choice:
    """One choice of the response."""

    def __init__(self, index: int, start: Start, *, logprobs: bool) -> None:
        self._index = index
        self._start = start
        self._begun = False
        self._shown = ShownTokens() if logprobs else None
        self._text = start.text
        self._tokens: list[TokenLogprob] = list(start.tokens)
        self._finish: Finish | None = None

    @property
    def finish(self) -> Finish | None:
        """Its end, if it came."""
        return self._finish

    @property
    def usage(self) -> Usage:
        """The token counts, after the end."""
        return Usage() if self._finish is None else self._finish.usage

    def feed(self, event: Event) -> Iterator[CompletionChoice]:
        """Write an event; the start of the choice comes before the first."""
        tokens = [] if self._shown is None else self._shown.feed(event)
        if not self._begun:
            self._begun = True
            if self._text:
                yield self.whole()
        match event:
            case TextDelta(text):
                yield self._choice(text, tokens, len(self._text))
                self._text += text
                self._tokens += tokens
            case Finish():
                self._finish = event
                # Scoring clients also count the token that ends the text.
                ending = self._shown.rest() if self._shown is not None and self._start.tokens else []
                yield self._choice("", ending, len(self._text))
                self._tokens += ending

    def whole(self) -> CompletionChoice:
        """Write the whole choice."""
        scored = bool(self._start.tokens)
        return self._choice(self._text, self._tokens, 0 if scored else len(self._start.text), foretold=not scored)

    def _choice(self, text: str, tokens: list[TokenLogprob], offset: int, *, foretold: bool = True) -> CompletionChoice:
        finish = None if self._finish is None else self._finish.reason
        return CompletionChoice(
            text=text,
            index=self._index,
            logprobs=None if self._shown is None else wire_logprobs(tokens, offset, foretold=foretold),
            finish_reason=None if finish is None else completion_finish(finish),
        )
