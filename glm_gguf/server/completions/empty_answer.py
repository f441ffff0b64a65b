"""Answers of no tokens, for requests that ask only what their prompts are worth."""

from __future__ import annotations

from typing import Self

from glm_gguf.chat.events import Event, Finish, Usage


class EmptyAnswer:
    """The events of an answer that may have no token: its end."""

    def __init__(self, prompt_tokens: int) -> None:
        self.prompt_tokens = prompt_tokens
        self._ended = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        if self._ended:
            raise StopAsyncIteration
        self._ended = True
        return Finish("length", Usage(self.prompt_tokens))

    def close(self) -> None:
        """Nothing is under way."""
