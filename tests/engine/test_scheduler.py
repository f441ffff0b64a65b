"""Answers at once are the same as alone, and free their cells."""

import random
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from engine.conversations import EXACT, GREEDY, PLAIN, Bench, Reply, random_prompts
from loading import planned

from glm_gguf.engine.delivery import AnswerFailed, Ended
from glm_gguf.engine.host_cache import MOST_RESIDENT
from glm_gguf.engine.request import Request, RequestHandle
from glm_gguf.llama.devices import gpus
from glm_gguf.llama.engine_options import Scales
from glm_gguf.llama.model_handle import ModelHandle
from glm_gguf.llama.sampling_params import SamplingParams


@pytest.fixture
def bench(exact_model: ModelHandle) -> Iterator[Bench]:
    with Bench(exact_model, EXACT) as made:
        yield made


@pytest.fixture(scope="module")
def prompts(exact_model: ModelHandle) -> list[list[int]]:
    return random_prompts(exact_model, 32, seed=1)


@pytest.fixture(scope="module")
def alone(exact_model: ModelHandle, prompts: list[list[int]]) -> list[list[int]]:
    """The answers from an empty cache, one after another."""
    answers = []
    with Bench(exact_model, EXACT) as bench:
        for prompt in prompts:
            answers.append(bench.answer(prompt).tokens)
            bench.scheduler.cache.clear()
    return answers


def test_batches_halved_for_tiles_serve_all_sequences_in_turn(
    exact_model: ModelHandle, prompts: list[list[int]], alone: list[list[int]]
) -> None:
    counts: list[list[int]] = []
    options = replace(PLAIN, n_parallel=10)
    plan = replace(planned(exact_model.file, options), in_tiles=True)
    with Bench(exact_model, options, plan) as bench:
        replies = [bench.ask(prompt)[0] for prompt in prompts[:10]]
        while bench.scheduler.busy:
            bench.scheduler.step()
            if all(reply.tokens and not reply.done for reply in replies):
                counts.append([len(reply.tokens) for reply in replies])
        assert [reply.tokens for reply in replies] == alone[:10]
    assert len(counts) > 2
    for before, after in zip(counts, counts[2:], strict=False):  # half of them a step, and each in every second
        assert [count + 1 for count in before] == after


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("n_ctx", "n_host_cache"),
    [(2048, 0), (512, 0), (512, 700), (1024, 4096)],
    ids=["room for all", "scarce room", "some main memory", "much main memory"],
)
def test_answers_at_once_are_the_same_as_alone(
    exact_model: ModelHandle,
    prompts: list[list[int]],
    alone: list[list[int]],
    seed: int,
    n_ctx: int,
    n_host_cache: int,
) -> None:
    generator = random.Random(seed)
    waiting = list(enumerate(prompts))
    generator.shuffle(waiting)
    replies: dict[int, Reply] = {}
    cancelled: dict[int, Reply] = {}
    options = replace(EXACT, n_ctx=n_ctx, n_host_cache=n_host_cache, n_parallel=6, n_batch=128, n_chunk=48)
    with Bench(exact_model, options) as bench:
        handles = []
        while waiting or bench.scheduler.busy:
            for _ in range(min(len(waiting), generator.choice([0, 0, 0, 1, 1, 4]))):
                index, prompt = waiting.pop()
                reply, handle = bench.ask(prompt)
                replies[index] = reply
                handles.append((index, handle))
            if handles and generator.random() < 0.05:
                index, handle = handles.pop(generator.randrange(len(handles)))
                handle.cancelled = True
                cancelled[index] = replies.pop(index, None) or cancelled[index]
            bench.scheduler.step()
        for index, reply in replies.items():
            assert reply.tokens == alone[index]
        for index, reply in cancelled.items():
            assert reply.tokens == alone[index][: len(reply.tokens)]
        assert bench.scheduler.cache.used <= n_ctx
        if not gpus():  # a GPU does not offload sequences decoded in the same batches
            assert (bench.scheduler.cache.host.used > 0) == (n_host_cache > 0)
        bench.scheduler.cache.clear()
        assert bench.scheduler.cache.used == bench.cells_in_use() == 0


def test_the_counts_of_tokens_are_those_of_llama_cpp(bench: Bench, prompts: list[list[int]]) -> None:
    for prompt in prompts[:8]:
        bench.ask(prompt)
    while bench.scheduler.busy:
        bench.scheduler.step()
        for prefix in bench.scheduler.cache.prefixes:
            assert bench.context.length(prefix.sequence) == len(prefix.tokens)


def test_a_second_turn_computes_only_what_is_new(bench: Bench) -> None:
    history = [7 + index % 200 for index in range(2000 - 40)]
    first = bench.answer(history)
    assert first.cached == 0
    steps, second_prompt = bench.scheduler.steps, [*history, *first.tokens, 5, 6, 7]
    second = bench.answer(second_prompt, replace(GREEDY, max_tokens=1))
    assert second.cached == len(history) + len(first.tokens) - 1
    assert bench.scheduler.steps == steps + 1


def test_equal_prompts_at_once_are_computed_once(bench: Bench, prompts: list[list[int]]) -> None:
    prompt = max(prompts, key=len)
    replies = [bench.ask(prompt)[0] for _ in range(4)]
    bench.run()
    assert [reply.cached for reply in replies] == [0, *[len(prompt) - 1] * 3]
    assert len({tuple(reply.tokens) for reply in replies}) == 1


def test_prompts_that_share_few_tokens_are_prefilled_at_once(bench: Bench) -> None:
    begun = list(range(300, 310))
    asked = [bench.ask([*begun, *range(start, start + 40)])[0] for start in (400, 500)]
    bench.scheduler.step()
    assert [len(reply.tokens) for reply in asked] == [1, 1]


def test_a_long_prompt_does_not_stall_answers_in_decode(exact_model: ModelHandle) -> None:
    with Bench(exact_model, replace(EXACT, n_batch=256, n_chunk=64)) as bench:
        writing, _ = bench.ask([5, 6, 7], replace(GREEDY, max_tokens=200))
        bench.scheduler.step()
        long, _ = bench.ask([9] * 1000)
        for _ in range(10):
            before = len(writing.tokens)
            bench.scheduler.step()
            assert len(writing.tokens) == before + 1
        assert not long.tokens


def test_a_long_prompt_does_not_delay_a_short_one(exact_model: ModelHandle) -> None:
    with Bench(exact_model, replace(EXACT, n_batch=256, n_chunk=64)) as bench:
        long, _ = bench.ask([9] * 1500)
        bench.scheduler.step()
        short, _ = bench.ask([5, 6, 7] * 9)
        bench.scheduler.step()
        assert short.tokens
        assert not long.tokens


def test_the_engine_lingers_where_an_answer_ended_beside_others(exact_model: ModelHandle) -> None:
    waits = []
    with Bench(exact_model, PLAIN) as bench:
        bench.ask([5, 6, 7], replace(GREEDY, max_tokens=6))
        bench.ask([8, 9, 10], replace(GREEDY, max_tokens=3))
        while bench.scheduler.busy:
            bench.scheduler.step()
            waits.append(bench.scheduler.linger_seconds > 0)
    assert waits == [False, False, True, False, False, False]


def test_the_engine_does_not_linger_while_requests_wait(exact_model: ModelHandle) -> None:
    with Bench(exact_model, replace(EXACT, n_parallel=2)) as bench:
        for length in (2, 4, 6):
            bench.ask([5, 6, length], replace(GREEDY, max_tokens=length))
        bench.scheduler.step()
        bench.scheduler.step()
        assert bench.scheduler.linger_seconds == 0


def test_the_first_request_is_served_first(exact_model: ModelHandle) -> None:
    with Bench(exact_model, replace(EXACT, n_parallel=2)) as bench:
        replies = [bench.ask([index + 3] * 20)[0] for index in range(6)]
        finished: list[int] = []
        while bench.scheduler.busy:
            bench.scheduler.step()
            finished += [index for index, reply in enumerate(replies) if reply.done and index not in finished]
        assert finished == list(range(6))


@pytest.mark.parametrize("steps", [0, 1, 4], ids=["in line", "while it is read", "while it is written"])
def test_a_cancelled_answer_frees_its_cells_at_the_next_step(bench: Bench, steps: int) -> None:
    reply, handle = bench.ask([9] * 1000)
    for _ in range(steps):
        bench.scheduler.step()
    handle.cancelled = True
    bench.scheduler.step()
    assert reply.done
    assert not bench.scheduler.busy
    bench.scheduler.cache.clear()
    assert bench.cells_in_use() == 0


def test_an_aborted_batch_is_computed_again(bench: Bench, prompts: list[list[int]], alone: list[list[int]]) -> None:
    reply, _ = bench.ask(prompts[3])
    while bench.scheduler.busy:
        bench.context.abort()
        bench.scheduler.step()
        bench.scheduler.step()
    assert reply.tokens == alone[3]


def test_requests_that_wait_for_a_shared_prompt_are_looked_up_once(
    exact_model: ModelHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    beginning, looked_up = [7, 8] * 500, 0
    with Bench(exact_model, replace(EXACT, n_batch=128)) as bench:
        known = bench.scheduler.cache.known

        def counted(tokens: list[int], scales: Scales) -> int:
            nonlocal looked_up
            looked_up += 1
            return known(tokens, scales)

        monkeypatch.setattr(bench.scheduler.cache, "known", counted)
        first, handle = bench.ask(beginning)
        rest = [bench.ask([*beginning, token], replace(GREEDY, max_tokens=2)) for token in range(10, 110)]
        for _ in range(4):
            bench.scheduler.step()
        assert looked_up == 100
        handle.cancelled = True  # its prompt is in prefill: the next sequence goes on with it
        bench.run()
        assert first.done
        assert sum(reply.cached == 1000 for reply, _ in rest) == 99
        assert all(len(reply.tokens) == 2 for reply, _ in rest)


def test_deadlines_pass_in_the_queue_and_in_decode(bench: Bench) -> None:
    reply = Reply()
    late = Request((5, 6, 7), GREEDY, deadline=time.monotonic() - 1)
    bench.scheduler.add(RequestHandle(late, reply.deliveries.append))
    bench.run()
    assert reply.deliveries == [Ended("timeout")]


def test_the_least_recently_used_prefix_is_evicted_first(exact_model: ModelHandle) -> None:
    with Bench(exact_model, replace(EXACT, n_ctx=512)) as bench:
        prompts = {name: [token] * 150 for name, token in (("a", 3), ("b", 4), ("c", 5))}
        for name in "aba":
            bench.answer(prompts[name])
        bench.answer(prompts["c"] * 2)
        assert bench.answer(prompts["a"]).cached == 149
        assert bench.answer(prompts["b"]).cached == 0


def test_an_offloaded_prefix_is_not_computed_again(exact_model: ModelHandle) -> None:
    with Bench(exact_model, replace(PLAIN, n_ctx=512, n_host_cache=4096)) as bench:
        prompts = [[token] * 150 for token in range(3, 9)]
        first = [bench.answer(prompt) for prompt in prompts]
        steps = bench.scheduler.steps
        again = [bench.answer(prompt) for prompt in prompts]
        assert [reply.cached for reply in again] == [149] * 6
        assert bench.scheduler.steps - steps == 6 * 24
        assert [reply.tokens for reply in again] == [reply.tokens for reply in first]


def test_shared_cells_are_offloaded_once(exact_model: ModelHandle) -> None:
    with Bench(exact_model, replace(EXACT, n_ctx=512, n_host_cache=4096)) as bench:
        head = list(range(300, 400))
        prompts = [[*head, *[token] * 40] for token in range(3, 9)]
        first = [bench.answer(prompt) for prompt in prompts]
        bench.answer([9] * 400)
        host = bench.scheduler.cache.host
        assert host.used < sum(len(prompt) for prompt in prompts)
        again = [bench.answer(prompt) for prompt in prompts]
        assert [reply.cached for reply in again] == [139] * 6
        assert [reply.tokens for reply in again] == [reply.tokens for reply in first]


def test_few_cells_stay_resident_where_main_memory_takes_the_others(exact_model: ModelHandle) -> None:
    with Bench(exact_model, replace(EXACT, n_host_cache=4096)) as bench:
        for token in range(3, 13):
            bench.answer([token] * 150)
        cache = bench.scheduler.cache
        assert cache.used <= MOST_RESIDENT
        assert cache.used + cache.host.used == 10 * (150 + 23)


def test_a_conversation_stays_in_the_cells_whatever_its_length(exact_model: ModelHandle) -> None:
    with Bench(exact_model, replace(EXACT, n_host_cache=4096)) as bench:
        bench.answer([3] * 1500)
        assert bench.scheduler.cache.used == 1500 + 23
        assert bench.scheduler.cache.host.used == 0


def test_a_full_context_ends_the_answer(exact_model: ModelHandle) -> None:
    with Bench(exact_model, replace(EXACT, n_ctx=256)) as bench:
        reply = bench.answer([9] * 200, replace(GREEDY, max_tokens=None))
        assert len(reply.tokens) == 256 - 200 + 1
        assert reply.end == Ended("length")


def test_many_short_requests_leave_no_cells_in_use(bench: Bench) -> None:
    for index in range(300):
        bench.answer([3 + index % 100, 5 + index % 7, 9], SamplingParams(temperature=0, max_tokens=1))
    assert len(bench.scheduler.cache.prefixes) <= 256
    assert bench.scheduler.cache.used <= 300 * 3
    bench.scheduler.cache.clear()
    assert bench.cells_in_use() == bench.scheduler.cache.used == 0


def test_an_unknown_token_in_the_bias_fails_this_request_alone(bench: Bench) -> None:
    good, _ = bench.ask([5, 6, 7])
    bad, _ = bench.ask([5, 6, 7], replace(GREEDY, logit_bias={10**6: 1.0}))
    bench.run()
    assert isinstance(bad.end, AnswerFailed)
    assert good.end == Ended("length")
