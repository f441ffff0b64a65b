"""A large batch that serves a single request is preemptible while less than half is done."""

import threading
from dataclasses import replace

import pytest
from engine.conversations import EXACT
from loading import planned

from glm_gguf.engine.abortable_batch import LARGE, AbortableBatch
from glm_gguf.engine.delivery import AnswerFailed, Delivery, Ended, SampledToken
from glm_gguf.engine.engine import Engine
from glm_gguf.engine.request import Request, RequestHandle
from glm_gguf.llama.model_handle import ModelHandle
from glm_gguf.llama.sampling_params import SamplingParams

ONE_TOKEN = SamplingParams(temperature=0, max_tokens=1, ignore_eos=True)
BATCH = 1024
PROMPT = 3 * BATCH
TRIES = 20


class Clock:
    """Seconds that the test lets pass."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Flag:
    """An abort flag."""

    def __init__(self) -> None:
        self.raised = False

    def abort(self) -> None:
        self.raised = True

    def resume(self) -> None:
        self.raised = False


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def flag() -> Flag:
    return Flag()


@pytest.fixture
def exclusive(clock: Clock, flag: Flag) -> AbortableBatch:
    """After a batch whose 100 tokens took 10 s."""
    exclusive = AbortableBatch(flag, clock)
    exclusive.begin(None, 100)
    clock.now += 10
    exclusive.end(done=True)
    return exclusive


@pytest.fixture
def handle() -> RequestHandle:
    return RequestHandle(Request((1,), ONE_TOKEN), lambda _: None)


def test_it_is_preemptible_until_half_of_it_is_computed(
    exclusive: AbortableBatch, clock: Clock, handle: RequestHandle
) -> None:
    exclusive.begin(handle, 200)
    clock.now += 9.9
    assert exclusive.preemptible
    clock.now += 0.2
    assert not exclusive.preemptible


def test_nothing_is_preemptible_between_batches(exclusive: AbortableBatch, handle: RequestHandle) -> None:
    assert not exclusive.preemptible
    exclusive.begin(handle, 200)
    exclusive.end(done=True)
    assert not exclusive.preemptible
    assert not exclusive.is_for(handle)


def test_the_first_batch_of_all_is_not_preemptible(clock: Clock, flag: Flag, handle: RequestHandle) -> None:
    exclusive = AbortableBatch(flag, clock)
    exclusive.begin(handle, 200)
    assert not exclusive.preemptible


@pytest.mark.parametrize("n_tokens", [1, LARGE - 1])
def test_small_batches_are_not_preemptible(exclusive: AbortableBatch, handle: RequestHandle, n_tokens: int) -> None:
    exclusive.begin(handle, n_tokens)
    assert not exclusive.preemptible
    assert exclusive.is_for(handle)


def test_a_batch_of_several_requests_is_not_preemptible(exclusive: AbortableBatch) -> None:
    exclusive.begin(None, 200)
    assert not exclusive.preemptible


def test_the_batch_after_an_aborted_one_is_not_preemptible(
    exclusive: AbortableBatch, clock: Clock, handle: RequestHandle
) -> None:
    exclusive.begin(handle, 200)
    clock.now += 1
    exclusive.end(done=False)
    exclusive.begin(handle, 200)
    assert not exclusive.preemptible
    clock.now += 20
    exclusive.end(done=True)
    exclusive.begin(handle, 200)
    assert exclusive.preemptible


def test_only_the_intended_batch_is_aborted(exclusive: AbortableBatch, flag: Flag, handle: RequestHandle) -> None:
    exclusive.begin(handle, 200)
    exclusive.end(done=True)
    exclusive.abort_for(handle)  # too late
    exclusive.preempt()
    assert not flag.raised
    exclusive.begin(None, 200)
    exclusive.abort_for(handle)
    exclusive.preempt()
    assert not flag.raised
    exclusive.end(done=True)
    exclusive.begin(handle, 2)
    exclusive.preempt()
    assert not flag.raised
    exclusive.abort_for(handle)
    assert flag.raised


def test_a_flag_raised_too_late_is_lowered_at_the_end_of_its_batch(
    exclusive: AbortableBatch, flag: Flag, handle: RequestHandle
) -> None:
    exclusive.begin(handle, 200)
    exclusive.preempt()
    assert flag.raised
    exclusive.end(done=True)
    assert not flag.raised


def test_nothing_is_computed_after_stop(exclusive: AbortableBatch, flag: Flag, handle: RequestHandle) -> None:
    exclusive.stop()
    exclusive.begin(handle, 200)
    exclusive.end(done=False)
    assert flag.raised


class Reader:
    """One request to an engine, and the cells in use at its first token."""

    def __init__(self, engine: Engine, prompt: list[int]) -> None:
        self._engine = engine
        self._done = threading.Event()
        self.cells = 0
        self.failed = False
        self.handle = engine.submit(Request(tuple(prompt), ONE_TOKEN), self._take)

    def _take(self, delivery: Delivery) -> None:
        if isinstance(delivery, SampledToken):
            self.cells = self._engine.status.cells_used
        if isinstance(delivery, Ended | AnswerFailed):
            self.failed = isinstance(delivery, AnswerFailed)
            self._done.set()

    def wait(self) -> None:
        assert self._done.wait(60)
        assert not self.failed


def test_a_new_request_aborts_a_batch(exact_model: ModelHandle) -> None:
    options = replace(EXACT, n_ctx=2 * PROMPT, n_batch=BATCH, n_host_cache=0)
    with Engine(exact_model, planned(exact_model.file, options)) as engine:
        Reader(engine, [7] * PROMPT).wait()
        for attempt in range(TRIES):
            engine.call(lambda scheduler, _: scheduler.cache.clear())
            long = Reader(engine, [100 + attempt] * PROMPT)
            while not engine._scheduler.batch_under_way.is_for(long.handle):
                pass
            short = Reader(engine, [5, 6, attempt])
            short.wait()
            long.wait()
            if short.cells <= BATCH:  # of the long prompt, only what the new request's own batch had room for
                return
    pytest.fail(f"{TRIES} new requests waited for a whole batch each")
