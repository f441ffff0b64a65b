"""Tasks for the engine's thread, first in, first out; any thread puts them in."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator

from glm_gguf.engine.task import Task
from glm_gguf.llama.shared_pointer import Refusal


class TaskQueue:
    """A queue that loses no task: each is taken, drained after the queue closes, or refused by `put`."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._tasks: deque[Task] = deque()
        self._refusal: Refusal | None = None

    def put(self, task: Task, check: Callable[[], None] | None = None) -> None:
        """Append a task; raises the refusal of a closed queue, and what `check` raises under the lock."""
        with self._changed:
            if self._refusal is None:
                if check is not None:
                    check()
                self._tasks.append(task)
                self._changed.notify()
                return
        raise self._refusal()

    def count(self, kind: type[Task]) -> int:
        """Count the queued tasks of a kind."""
        with self._changed:
            return sum(isinstance(task, kind) for task in self._tasks)

    @property
    def closed(self) -> bool:
        """`put` refuses every task."""
        return self._refusal is not None

    def take(self, seconds: float | None) -> Iterator[Task]:
        """Wait for tasks, at most for some seconds, and yield those queued then; none once the queue is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self.closed or self._tasks, seconds)
            queued = len(self._tasks)
        for _ in range(queued):
            with self._changed:
                if self.closed:
                    return
                task = self._tasks.popleft()
            yield task

    def close(self, refusal: Refusal) -> None:
        """Refuse all later tasks; of several refusals the first holds."""
        with self._changed:
            self._refusal = self._refusal or refusal
            self._changed.notify()

    def drain(self) -> list[Task]:
        """Take all tasks that are left."""
        with self._changed:
            tasks = list(self._tasks)
            self._tasks.clear()
        return tasks
