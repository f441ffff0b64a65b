"""Answers without tokens, for requests that only score their prompts."""

from __future__ import annotations

from typing import Self

from glm_gguf.chat.events import Event, Finish, Usage


class EmptyAnswer:
    """The events of an answer without tokens: its end alone."""

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
