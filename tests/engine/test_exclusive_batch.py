"""A prompt that is read alone does not keep others waiting."""

import threading
from dataclasses import replace

import pytest
from engine.conversations import EXACT
from loading import planned

from glm_gguf.engine.delivery import Delivery, Drawn, Ended, Failed
from glm_gguf.engine.engine import Engine
from glm_gguf.engine.exclusive_batch import LARGE, ExclusiveBatch
from glm_gguf.engine.request import Request, Ticket
from glm_gguf.llama.model_handle import ModelHandle
from glm_gguf.llama.sampling_params import SamplingParams

ONE_TOKEN = SamplingParams(temperature=0, max_tokens=1, ignore_eos=True)
BATCH = 1024
PROMPT = 3 * BATCH
TRIES = 20


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Flag:
    """Whether the batch under way is to return."""

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
def lone(clock: Clock, flag: Flag) -> ExclusiveBatch:
    """Where 100 tokens took 10 s."""
    lone = ExclusiveBatch(flag, clock)
    lone.begin(None, 100)
    clock.now += 10
    lone.end(done=True)
    return lone


@pytest.fixture
def ticket() -> Ticket:
    return Ticket(Request((1,), ONE_TOKEN), lambda _: None)


def test_it_gives_way_until_half_of_it_is_computed(lone: ExclusiveBatch, clock: Clock, ticket: Ticket) -> None:
    lone.begin(ticket, 200)
    clock.now += 9.9
    assert lone.gives_way
    clock.now += 0.2
    assert not lone.gives_way


def test_nothing_gives_way_between_batches(lone: ExclusiveBatch, ticket: Ticket) -> None:
    assert not lone.gives_way
    lone.begin(ticket, 200)
    lone.end(done=True)
    assert not lone.gives_way
    assert not lone.is_for(ticket)


def test_the_first_of_all_does_not_give_way(clock: Clock, flag: Flag, ticket: Ticket) -> None:
    lone = ExclusiveBatch(flag, clock)
    lone.begin(ticket, 200)
    assert not lone.gives_way


@pytest.mark.parametrize("n_tokens", [1, LARGE - 1])
def test_small_ones_do_not_give_way(lone: ExclusiveBatch, ticket: Ticket, n_tokens: int) -> None:
    lone.begin(ticket, n_tokens)
    assert not lone.gives_way
    assert lone.is_for(ticket)


def test_what_several_wait_for_does_not_give_way(lone: ExclusiveBatch) -> None:
    lone.begin(None, 200)
    assert not lone.gives_way


def test_the_one_behind_one_given_up_does_not_give_way(lone: ExclusiveBatch, clock: Clock, ticket: Ticket) -> None:
    lone.begin(ticket, 200)
    clock.now += 1
    lone.end(done=False)
    lone.begin(ticket, 200)
    assert not lone.gives_way
    clock.now += 20
    lone.end(done=True)
    lone.begin(ticket, 200)
    assert lone.gives_way


def test_only_the_batch_that_is_meant_is_given_up(lone: ExclusiveBatch, flag: Flag, ticket: Ticket) -> None:
    lone.begin(ticket, 200)
    lone.end(done=True)
    lone.give_up(ticket)  # too late
    lone.give_way()
    assert not flag.raised
    lone.begin(None, 200)
    lone.give_up(ticket)
    lone.give_way()
    assert not flag.raised
    lone.end(done=True)
    lone.begin(ticket, 2)
    lone.give_way()
    assert not flag.raised
    lone.give_up(ticket)
    assert flag.raised


def test_a_flag_is_lowered_with_the_batch_that_it_met_too_late(
    lone: ExclusiveBatch, flag: Flag, ticket: Ticket
) -> None:
    lone.begin(ticket, 200)
    lone.give_way()
    assert flag.raised
    lone.end(done=True)
    assert not flag.raised


def test_nothing_is_computed_behind_the_end(lone: ExclusiveBatch, flag: Flag, ticket: Ticket) -> None:
    lone.stop()
    lone.begin(ticket, 200)
    lone.end(done=False)
    assert flag.raised


class Reader:
    """One request to an engine, with what its cells held when its first token came."""

    def __init__(self, engine: Engine, prompt: list[int]) -> None:
        self._engine = engine
        self._done = threading.Event()
        self.cells = 0
        self.failed = False
        self.ticket = engine.submit(Request(tuple(prompt), ONE_TOKEN), self._take)

    def _take(self, delivery: Delivery) -> None:
        if isinstance(delivery, Drawn):
            self.cells = self._engine.status.cells_used
        if isinstance(delivery, Ended | Failed):
            self.failed = isinstance(delivery, Failed)
            self._done.set()

    def wait(self) -> None:
        assert self._done.wait(60)
        assert not self.failed


def test_a_newcomer_has_a_batch_given_up(exact_model: ModelHandle) -> None:
    options = replace(EXACT, n_ctx=2 * PROMPT, n_batch=BATCH, n_host_cache=0)
    with Engine(exact_model, planned(exact_model.file, options)) as engine:
        Reader(engine, [7] * PROMPT).wait()
        for attempt in range(TRIES):
            engine.call(lambda scheduler, _: scheduler.cache.clear())
            long = Reader(engine, [100 + attempt] * PROMPT)
            while not engine._scheduler.lone.is_for(long.ticket):
                pass
            short = Reader(engine, [5, 6, attempt])
            short.wait()
            long.wait()
            if short.cells <= BATCH:  # of the long one, only what the newcomer's own batch had room for
                return
    pytest.fail(f"{TRIES} newcomers waited for a whole batch each")
