"""Which of the drawn tokens the visible text consists of: OpenAI's `logprobs` are about those alone."""

from __future__ import annotations

from itertools import accumulate

from glm_gguf.chat.events import Event, ReasoningDelta, TextDelta, TokenLogprob, ToolCallDelta, ToolCallStart


class ShownTokens:
    """Follows the events of one answer; tokens of roles, names, thoughts and blank beginnings are dropped."""

    def __init__(self) -> None:
        self._drawn: list[TokenLogprob] = []
        self._begun = b""  # the rest of a token whose first bytes were shown already

    def feed(self, event: Event) -> list[TokenLogprob]:
        """Return the tokens that a piece of visible text begins."""
        match event:
            case TokenLogprob():
                self._drawn.append(event)
            case TextDelta(text):
                return self._found(text.encode(errors="replace"))
            case ReasoningDelta(text) | ToolCallStart(_, text) | ToolCallDelta(_, text):
                self._found(text.encode(errors="replace"))
        return []

    def rest(self) -> list[TokenLogprob]:
        """Take out the tokens that were drawn and not shown: at the end, those that ended the answer."""
        rest, self._drawn = self._drawn, []
        return rest

    def _found(self, shown: bytes) -> list[TokenLogprob]:
        """Take out the tokens up to the end of a text, and return those in it."""
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
        """Find where a text begins in the drawn tokens: with one of them if it can, else inside one; -1 is nowhere."""
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
