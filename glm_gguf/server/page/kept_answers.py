"""Answers of the page that go on while it is reloaded, and are sent again from their beginning."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack, aclosing
from typing import Final

from glm_gguf.server.limits import Limits
from glm_gguf.server.problem import Problem, Refused, full_queue

TAKEN: Final = Problem(409, "There is an answer of this identifier.", code="answer_exists")


class KeptAnswer:
    """The stream of one answer, as far as it is written. It ends when nobody reads it for `seconds`."""

    def __init__(self, pieces: AsyncGenerator[bytes, None], held: ExitStack, seconds: float) -> None:
        self._pieces: list[bytes] = []
        self._changed = asyncio.Event()
        self._readers = 0
        self._seconds = seconds
        self._expiry: asyncio.TimerHandle | None = None
        self._held = held
        self._task = asyncio.create_task(self._write(pieces))
        self._task.add_done_callback(self._end)

    @property
    def done(self) -> bool:
        """The answer is written, or was stopped."""
        return self._task.done()

    async def read(self) -> AsyncGenerator[bytes, None]:
        """Yield the stream from its beginning to its end."""
        self._readers += 1
        self._keep()
        try:
            sent = 0
            while sent < len(self._pieces) or not self.done:
                if sent == len(self._pieces):
                    self._changed.clear()
                    await self._changed.wait()
                sent, pieces = len(self._pieces), self._pieces[sent:]
                if pieces:
                    yield b"".join(pieces)
        finally:
            self._readers -= 1

    def expire_later(self, forget: Callable[[], None]) -> None:
        """Call `forget` in `seconds`, unless somebody reads by then."""
        if not self._readers:
            self._keep()
            self._expiry = asyncio.get_running_loop().call_later(self._seconds, forget)

    def stop(self) -> None:
        """Stop the answer, if it is not done."""
        self._keep()
        self._task.cancel()

    async def ended(self) -> None:
        """Wait until it is done or stopped."""
        await asyncio.gather(self._task, return_exceptions=True)

    def _keep(self) -> None:
        """Stop the timer that forgets it."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None

    async def _write(self, pieces: AsyncGenerator[bytes, None]) -> None:
        """Gather the stream; closing it stops the model."""
        async with aclosing(pieces):
            async for piece in pieces:
                self._pieces.append(piece)
                self._changed.set()

    def _end(self, task: asyncio.Task[None]) -> None:
        """Release what the answer used, such as its model, and wake its readers."""
        self._held.close()
        self._changed.set()


class KeptAnswers:
    """Answers by the identifiers that the page made for them, which nobody guesses; a limited number, for some time."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._answers: dict[str, KeptAnswer] = {}

    def get(self, identifier: str) -> KeptAnswer | None:
        """Return an answer, unless it was forgotten."""
        return self._answers.get(identifier)

    def require_room(self, identifier: str) -> None:
        """Forget the oldest answer that is done if there is no room; Refused if all are written, or it is taken."""
        if identifier in self._answers:
            raise Refused(TAKEN)
        if len(self._answers) >= self._limits.kept_answers:
            done = next((name for name, answer in self._answers.items() if answer.done), None)
            if done is None:
                most = self._limits.kept_answers
                raise Refused(full_queue(f"{most} answers of pages are being written already; try again later."))
            del self._answers[done]

    def add(self, identifier: str, pieces: AsyncGenerator[bytes, None], held: ExitStack) -> KeptAnswer:
        """Keep an answer, which is written from now on."""
        answer = KeptAnswer(pieces, held, self._limits.kept_answer_seconds)
        self._answers[identifier] = answer
        self._expire_later(identifier, answer)  # its first reader may never come
        return answer

    async def read(self, identifier: str, answer: KeptAnswer) -> AsyncGenerator[bytes, None]:
        """Yield an answer's stream; when nobody reads it any more, it expires."""
        try:
            async with aclosing(answer.read()) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            self._expire_later(identifier, answer)

    def stop(self, identifier: str) -> None:
        """Stop and forget an answer, if it is there."""
        answer = self._answers.pop(identifier, None)
        if answer is not None:
            answer.stop()

    async def close(self) -> None:
        """Stop all answers, and wait until their models are free."""
        answers = list(self._answers.values())
        for identifier in list(self._answers):
            self.stop(identifier)
        for answer in answers:
            await answer.ended()

    def _expire_later(self, identifier: str, answer: KeptAnswer) -> None:
        """Forget an answer after a while without a reader, unless it was forgotten already."""
        if self._answers.get(identifier) is answer:
            answer.expire_later(lambda: self.stop(identifier))
