"""An error in one answer ends that answer alone; an error of the engine ends all answers at once, with the cause."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from case_ids import without_address
from waiting import until

from glm_gguf import GLM, EngineOptions, SamplingParams
from glm_gguf.chat.detokenizer import Detokenizer
from glm_gguf.engine.embedding import MeanPooling
from glm_gguf.engine.scheduler import Scheduler
from glm_gguf.errors import EngineError, EngineFailedError, QueueFullError, RequestError

OPTIONS = EngineOptions(threads=1, n_ctx=512)
SHORT = SamplingParams(temperature=0, max_tokens=4, ignore_eos=True)
ENDLESS = SamplingParams(temperature=2, top_p=1, ignore_eos=True)  # so hot that no draft is accepted


@pytest.fixture(scope="module")
def glm(tiny_gguf: Callable[[str], Path]) -> Iterator[GLM]:
    with GLM(tiny_gguf("Q8_0"), options=OPTIONS) as opened:
        yield opened


@pytest.fixture
def doomed(tiny_gguf: Callable[[str], Path]) -> Iterator[GLM]:
    """A model whose engine a test may break."""
    with GLM(tiny_gguf("Q8_0"), options=OPTIONS) as opened:
        yield opened


class Faulty:
    """A constraint that raises in one of its methods, at its n-th call."""

    def __init__(self, method: str, error: BaseException, calls: int) -> None:
        self._method = method
        self._error = error
        self._left = calls

    def _called(self, method: str) -> None:
        self._left -= method == self._method
        if self._left == 0:
            raise self._error

    @property
    def finished(self) -> bool:
        self._called("finished")
        return False

    def allowed(self) -> None:
        self._called("allowed")

    def forced(self) -> list[int]:
        self._called("forced")
        return []

    def accept(self, token: int) -> None:
        self._called("accept")


class Unwritable(Exception):
    """An error without a text: str() raises."""

    def __str__(self) -> str:
        raise ValueError("no words")


ERRORS = [
    *(KeyError("x"), StopIteration(), MemoryError(), Unwritable(), CancelledError(), asyncio.CancelledError()),
    *(SystemExit(3), KeyboardInterrupt(), GeneratorExit(), RecursionError("a\nb")),
]


@pytest.mark.parametrize("calls", [1, 2], ids=["at first", "later"])
@pytest.mark.parametrize("method", ["finished", "allowed", "forced", "accept"])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_of_a_constraint_ends_its_answer_alone(
    glm: GLM, error: BaseException, method: str, calls: int
) -> None:
    innocent = glm.stream_completion("Hello", SHORT)
    with pytest.raises(EngineError) as caught:
        glm.complete("Hello", SHORT, constraint=Faulty(method, error, calls))
    cause = caught.value.__cause__
    assert cause is error or (isinstance(cause, RuntimeError) and cause.__cause__ is error)  # PEP 479
    assert len(list(innocent)) > 1
    assert not glm.status.failed
    until(lambda: glm.status.running == glm.status.waiting == 0)


@pytest.mark.parametrize("method", ["finished", "allowed", "forced", "accept"])
def test_a_glm_gguf_error_reaches_the_caller_as_it_was_raised(glm: GLM, method: str) -> None:
    error = RequestError("the constraint's own words")
    with pytest.raises(RequestError) as caught:
        glm.complete("Hello", SHORT, constraint=Faulty(method, error, 1))
    assert caught.value is error


@pytest.mark.parametrize("ask", ["achat", "acomplete", "aembed", "ascore"])
def test_a_constraint_that_awaits_the_model_that_asks_it_is_refused(glm: GLM, ask: str) -> None:
    class Asking(Faulty):
        def _called(self, method: str) -> None:
            asyncio.run(getattr(glm, ask)("Hello"))

    with pytest.raises(EngineError, match="cannot ask the model"):
        glm.complete("Hello", SHORT, constraint=Asking("", KeyError(), 0))


def test_all_threads_that_read_one_answer_reach_its_end(glm: GLM) -> None:
    stream = glm.stream_completion("Hello", SHORT)
    with ThreadPoolExecutor(4) as pool:
        ends = [pool.submit(list, stream) for _ in range(4)]
        assert sum(len(end.result(20)) for end in ends) > 1


class Returning(Faulty):
    """A constraint that returns a malformed value."""

    def __init__(self, method: str, value: Any) -> None:
        super().__init__("", KeyError(), 0)
        self._returned = {method: value}

    def allowed(self) -> Any:
        return self._returned.get("allowed")

    def forced(self) -> Any:
        return self._returned.get("forced", [])


WRONG = {
    "forced": [10**9, -1, "12", 1.5, None, (token for token in (1, 2)), np.array([1, 2])],
    "allowed": [5, "all", np.zeros(3, np.uint32), np.zeros(10**6, np.float32), [1, 2]],
}


@pytest.mark.parametrize(
    ("method", "value"),
    [
        (method, [value] if isinstance(value, int | float | str) and method == "forced" else value)
        for method, values in WRONG.items()
        for value in values
    ],
    ids=without_address,
)
def test_a_malformed_value_of_a_constraint_ends_its_answer_alone(glm: GLM, method: str, value: Any) -> None:
    innocent = glm.stream_completion("Hello", SHORT)
    with pytest.raises(EngineError):
        glm.complete("Hello", SHORT, constraint=Returning(method, value))  # type: ignore[arg-type]
    assert len(list(innocent)) > 1
    assert not glm.status.failed


class Nonsense:
    """It has the names of a constraint, with values of the wrong kind."""

    finished = allowed = forced = accept = 5


def test_an_object_that_only_looks_like_a_constraint_ends_its_answer_alone(glm: GLM) -> None:
    with pytest.raises(RequestError, match="constraint"):
        glm.complete("Hello", SHORT, constraint=5)  # type: ignore[arg-type]
    with pytest.raises(EngineError) as caught:
        glm.complete("Hello", SHORT, constraint=Nonsense())  # type: ignore[arg-type]
    assert isinstance(caught.value.__cause__, TypeError)
    assert glm.complete("Hello", SHORT)


class Attributes:
    """A constraint whose `finished` is an attribute, and whose methods belong to the object."""

    finished = False

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.accept = self.taken.append

    def allowed(self) -> None: ...

    def forced(self) -> list[int]:
        return []


def test_a_constraint_may_have_attributes(glm: GLM) -> None:
    constraint = Attributes()
    assert glm.complete("Hello", SHORT, constraint=constraint)
    assert len(constraint.taken) == SHORT.max_tokens


def test_a_reader_that_fails_ends_its_answer_alone(glm: GLM, monkeypatch: pytest.MonkeyPatch) -> None:
    events = glm.stream_completion("Hello", ENDLESS)
    monkeypatch.setattr(Detokenizer, "feed", lambda *_: 1 / 0)
    with pytest.raises(EngineError) as caught:
        list(events)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert list(events) == []
    monkeypatch.undo()
    until(lambda: glm.status.running == 0)
    assert glm.complete("Hello", SHORT)


def asked_from_inside(glm: GLM, ask: Callable[[], object]) -> BaseException | None:
    """Return the error of an answer whose constraint asks the model."""

    class Asking(Faulty):
        def allowed(self) -> None:
            ask()

        def forced(self) -> list[int]:
            ask()
            return []

    with pytest.raises(EngineError) as caught:
        glm.complete("Hello", SHORT, constraint=Asking("", KeyError(), 0))
    return caught.value


def test_a_constraint_that_asks_its_own_model_gets_an_error(glm: GLM, tmp_path: Path) -> None:
    for ask in (
        lambda: glm.complete("Hello", SHORT),
        lambda: glm.embed("Hello"),
        lambda: glm.score("Hello"),
        lambda: glm.save_session(tmp_path / "s"),
    ):
        assert "cannot ask the model that asks it" in str(asked_from_inside(glm, ask))
    assert glm.complete("Hello", SHORT)


@pytest.mark.parametrize("method", ["allowed", "forced"])
def test_a_constraint_may_close_the_model(tiny_gguf: Callable[[str], Path], method: str) -> None:
    glm = GLM(tiny_gguf("Q8_0"), options=OPTIONS)
    thread = glm._engine._thread

    class Closing(Faulty):
        def _called(self, called: str) -> None:
            if called == method:
                glm.close()

    with pytest.raises(EngineError, match="closed"):
        glm.complete("Hello", SHORT, constraint=Closing("", KeyError(), 0))
    thread.join(20)
    assert not thread.is_alive()
    glm.close()
    with pytest.raises(EngineError, match="closed"):
        glm.tokenize("Hello")


def broken(glm: GLM, error: BaseException) -> threading.Event:
    """Make the next step fail, once the event is set."""
    now = threading.Event()

    def step() -> None:
        now.wait(20)
        raise error

    glm._engine.call(lambda scheduler, _: setattr(scheduler, "step", step))
    return now


def test_a_step_that_fails_ends_everything_with_its_cause(doomed: GLM) -> None:
    error = MemoryError("no room")
    running = doomed.stream_completion("Hello", ENDLESS)
    next(iter(running))
    now = broken(doomed, error)
    waits: list[Callable[[], object]] = [
        *[lambda: list(doomed.stream_completion("Hello", SHORT))] * 3,
        lambda: doomed.embed("Hello"),
        lambda: doomed.score("Hello"),
        lambda: asyncio.run(doomed.aembed("Hello")),
        lambda: asyncio.run(doomed.achat([{"role": "user", "content": "Hello"}])),
        lambda: doomed._engine.call(lambda scheduler, _: scheduler.steps),
        lambda: list(running),
    ]
    with ThreadPoolExecutor(len(waits)) as pool:
        asked = [pool.submit(wait) for wait in waits]
        until(lambda: len(doomed._engine._tasks._tasks) == len(waits) - 1)
        now.set()
        ends = [future.exception(20) for future in asked]
    for end in ends:
        assert isinstance(end, EngineFailedError)
        assert end.__cause__ is error
    assert len({id(end) for end in ends}) == len(ends)
    doomed._engine._thread.join(20)


def test_a_failed_engine_reports_it_and_frees_its_memory(doomed: GLM, tmp_path: Path) -> None:
    error = ZeroDivisionError("a bug")
    doomed.complete("Hello", SHORT)
    broken(doomed, error).set()
    doomed._engine._thread.join(20)
    assert doomed.status.failed
    assert doomed.status.cells_used == doomed.status.host_tokens == 0
    assert doomed._engine._context._pointer is None
    assert doomed._model._shared._pointer is None
    later: list[Callable[[], object]] = [
        lambda: doomed.complete("Hello"),
        lambda: doomed.chat([{"role": "user", "content": "Hello"}]),
        lambda: doomed.embed("Hello"),
        lambda: doomed.embed([1, 2]),
        lambda: doomed.complete([1, 2, 3]),
        lambda: doomed.tokenize("Hello"),
        lambda: doomed.save_session(tmp_path / "s"),
        lambda: asyncio.run(doomed.ascore("Hello")),
    ]
    for ask in later * 3:
        with pytest.raises(EngineFailedError, match="ZeroDivisionError: a bug") as caught:
            ask()
        assert caught.value.__cause__ is error
    status = doomed.status
    assert (status.running, status.waiting, status.embeddings) == (0, 0, 0)
    doomed.close()


@pytest.mark.parametrize(
    "method",
    ["_admit", "_next_batch", "_drop_cancelled", "_decode", "_sample", "_end", "_advance_jobs", "add", "add_job"],
)
def test_wherever_the_scheduler_fails_no_caller_hangs(
    doomed: GLM, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    first = doomed.stream_completion("Hello", ENDLESS)
    next(iter(first))

    def fail(*_: object) -> None:
        raise KeyError(method)

    monkeypatch.setattr(Scheduler, method, fail)
    asked: list[Callable[[], object]] = [
        lambda: list(first),
        lambda: doomed.complete("Hello", SHORT),
        lambda: doomed.embed("Hello"),
        lambda: doomed.score("Hello"),
    ]
    with ThreadPoolExecutor(len(asked)) as pool:
        ends = [future.exception(20) for future in [pool.submit(ask) for ask in asked]]
    failed = [end for end in ends if end is not None]  # answers that ended before the failure stay so
    assert all(isinstance(end, EngineFailedError) and isinstance(end.__cause__, KeyError) for end in failed)
    until(lambda: doomed.status.failed)
    with pytest.raises(EngineFailedError):
        doomed.complete("Hello", SHORT)


def test_a_text_to_embed_that_fails_ends_alone(glm: GLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MeanPooling, "value", lambda _: 1 / 0)
    with pytest.raises(EngineError) as caught:
        glm.embed("Hello")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    monkeypatch.undo()
    assert glm.embed("Hello").shape
    assert not glm.status.failed


def test_refused_calls_do_not_change_the_counts(tiny_gguf: Callable[[str], Path]) -> None:
    options = EngineOptions(threads=1, n_ctx=512, n_parallel=1, n_queue=1)
    with GLM(tiny_gguf("Q8_0"), options=options) as glm:
        streams = [glm.stream_completion("Hello", ENDLESS) for _ in range(2)]
        for _ in range(5):
            with pytest.raises(QueueFullError):
                glm.complete("Hello", SHORT)
            status = glm.status  # one value: a request may begin between two
            assert status.running + status.waiting == 2
        for stream in streams:
            stream.close()
        until(lambda: glm.status.running == glm.status.waiting == 0)
        assert glm.complete("Hello", SHORT)
    for _ in range(5):
        with pytest.raises(EngineError, match="closed"):
            glm.complete([1, 2], SHORT)
    assert glm.status.waiting == 0
    assert not glm.status.failed


def test_a_model_whose_last_answer_failed_is_freed_with_its_last_reference(tiny_gguf: Callable[[str], Path]) -> None:
    """The error's traceback refers to the model; the engine's thread must not refer to the error."""

    def engines() -> int:
        return sum(thread.name.startswith("glm-gguf-engine") for thread in threading.enumerate())

    def ask() -> None:
        glm = GLM(tiny_gguf("Q8_0"), options=OPTIONS)
        with pytest.raises(EngineError, match="unexpected"):
            glm.complete("Hello", SHORT, constraint=Faulty("allowed", KeyError("x"), 1))

    before = engines()
    ask()
    until(lambda: gc.collect() >= 0 and engines() == before)
