"""Selects the sampled tokens of the visible text, the only ones in OpenAI's `logprobs`."""

from __future__ import annotations

from itertools import accumulate

from glm_gguf.chat.events import Event, ReasoningDelta, TextDelta, TokenLogprob, ToolCallDelta, ToolCallStart


class ShownTokens:
    """Follows the events of one answer; drops tokens of roles, names, thoughts and leading blanks."""

    def __init__(self) -> None:
        self._drawn: list[TokenLogprob] = []
        self._begun = b""  # the rest of a token whose first bytes are already shown

    def feed(self, event: Event) -> list[TokenLogprob]:
        """Return the tokens that start in a piece of visible text."""
        match event:
            case TokenLogprob():
                self._drawn.append(event)
            case TextDelta(text):
                return self._found(text.encode(errors="replace"))
            case ReasoningDelta(text) | ToolCallStart(_, text) | ToolCallDelta(_, text):
                self._found(text.encode(errors="replace"))
        return []

    def rest(self) -> list[TokenLogprob]:
        """Remove and return the sampled tokens that were not shown: at the end, those that ended the answer."""
        rest, self._drawn = self._drawn, []
        return rest

    def _found(self, shown: bytes) -> list[TokenLogprob]:
        """Remove the tokens up to the end of a text, and return those in it."""
        if self._begun:
            length = min(len(self._begun), len(shown))
            shown, self._begun = shown[length:], self._begun[length:]
        if not shown:
            return []
        start = self._start(shown)
        if start < 0:  # repaired, or with U+FFFD in it: all of them
            found, self._drawn = self._drawn, []
            return found
        return self._taken(start, start + len(shown))

    def _start(self, shown: bytes) -> int:
        """Return the offset of a text in the sampled tokens, at the start of a token if possible; -1 if absent."""
        joined = b"".join(token.token for token in self._drawn)
        ends = accumulate((len(token.token) for token in self._drawn), initial=0)
        return next((start for start in ends if joined.startswith(shown, start)), joined.find(shown))

    def _taken(self, start: int, end: int) -> list[TokenLogprob]:
        position, found = 0, []
        while position < end:
            token = self._drawn.pop(0)
            position += len(token.token)
            if position > start:
                found.append(token)
                self._begun = token.token[len(token.token) - max(position - end, 0) :] if position > end else b""
        return found
