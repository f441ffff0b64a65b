"""Tasks for the engine's thread, in the order in which they came; any thread puts them in."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator

from glm_gguf.engine.task import Task
from glm_gguf.llama.shared_pointer import Refusal


class TaskQueue:
    """No task is lost: it is taken, or refused when the mailbox closes, or it never came in."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._tasks: deque[Task] = deque()
        self._refusal: Refusal | None = None

    def put(self, task: Task, check: Callable[[], None] | None = None) -> None:
        """Put a task in; raises the refusal of a closed mailbox, and what `check` raises, one at a time."""
        with self._news:
            if self._refusal is None:
                if check is not None:
                    check()
                self._tasks.append(task)
                self._news.notify()
                return
        raise self._refusal()

    def count(self, kind: type[Task]) -> int:
        """Count the tasks of a kind that nobody has taken yet."""
        with self._news:
            return sum(isinstance(task, kind) for task in self._tasks)

    @property
    def closed(self) -> bool:
        """Nothing comes in any more."""
        return self._refusal is not None

    def take(self, seconds: float | None) -> Iterator[Task]:
        """Wait for tasks, at most for a time, and take out those that are there, one by one; none once it is closed."""
        with self._news:
            self._news.wait_for(lambda: self.closed or self._tasks, seconds)
            there = len(self._tasks)
        for _ in range(there):
            with self._news:
                if self.closed:
                    return
                task = self._tasks.popleft()
            yield task

    def close(self, refusal: Refusal) -> None:
        """Let nothing in any more; the first reason stands."""
        with self._news:
            self._refusal = self._refusal or refusal
            self._news.notify()

    def rest(self) -> list[Task]:
        """Take out what nobody will take any more."""
        with self._news:
            tasks = list(self._tasks)
            self._tasks.clear()
        return tasks
