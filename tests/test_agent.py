"""Runs: calls in parallel, errors told to the model, approval, timeouts and max_turns."""

from __future__ import annotations

import asyncio
import contextvars
import json
import math
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from waiting import PATIENCE, until

from glm_gguf.agent import RunEvent, RunResult, ToolResult, arun, run
from glm_gguf.chat.events import ChatResult, Finish, ToolCall
from glm_gguf.chat.messages import template_messages
from glm_gguf.chat.tools import Toolbox
from glm_gguf.demo.tools import DECLARATIONS, FUNCTIONS
from glm_gguf.errors import RequestError
from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.model import GLM
from glm_gguf.run_options import RunOptions
from glm_gguf.tool_calls import arun_calls, run_calls

QUESTION = [{"role": "user", "content": "北京和上海的空气质量如何？"}]


def realtime_aqi(city: str) -> dict[str, Any]:
    """天气预报。获取实时空气质量。"""
    return {"city": city, "aqi": {"北京": 10, "上海": 72}[city]}


def calls(*cities: str) -> ChatResult:
    made = tuple(ToolCall("realtime_aqi", json.dumps({"city": city}, ensure_ascii=False)) for city in cities)
    return ChatResult("", tool_calls=made, finish_reason="tool_calls")


class Script:
    """A model that gives scripted answers and records what it saw."""

    def __init__(self, *answers: ChatResult) -> None:
        self._answers = iter(answers)
        self.seen: list[list[Mapping[str, Any]]] = []

    def __call__(self, messages: Sequence[Mapping[str, Any]]) -> ChatResult:
        self.seen.append(list(messages))
        return next(self._answers)


BOX = Toolbox.of([realtime_aqi])


def test_two_cities_are_two_calls_and_two_observations() -> None:
    model = Script(calls("北京", "上海"), ChatResult("北京 10，上海 72。"))
    result = run(model, QUESTION, BOX, RunOptions())
    assert (result.content, result.turns, result.complete) == ("北京 10，上海 72。", 2, True)
    observations = [message["content"] for message in model.seen[1] if message["role"] == "tool"]
    assert observations == ['{"city": "北京", "aqi": 10}', '{"city": "上海", "aqi": 72}']
    assert result.messages[-1] == {"role": "assistant", "content": "北京 10，上海 72。"}
    assert [message["role"] for message in template_messages(result.messages)] == [
        *("user", "assistant", "assistant", "observation", "observation", "assistant"),
    ]


def test_an_error_goes_to_the_model() -> None:
    model = Script(calls("广州"), ChatResult("?"))
    run(model, QUESTION, BOX, RunOptions())
    assert model.seen[1][-1]["content"] == '{"error": "KeyError: \'广州\'"}'


def test_arguments_that_do_not_fit_go_back_as_an_error() -> None:
    observations = run_calls([ToolCall("realtime_aqi", '{"city": 3}')], BOX, RunOptions())
    assert observations == ['{"error": "$.city: 3 is not of type \'string\'"}']


def test_an_unknown_function_goes_back_as_an_error() -> None:
    assert "no function 'other'" in run_calls([ToolCall("other", "{}")], BOX, RunOptions())[0]


@pytest.mark.parametrize("answer", ["n", "yes", "", b"no"])
def test_an_approval_that_is_a_text_runs_nothing(answer: Any) -> None:
    async def later(call: ToolCall) -> Any:
        return answer

    for approve in (lambda call: answer, later):
        both, options = calls("北京", "上海").tool_calls, RunOptions(approve=approve)
        with pytest.raises(RequestError, match=r"approve: it returned the text .*; return True or False"):
            run_calls(both, BOX, options)
        with pytest.raises(RequestError, match="approve: it returned the text"):
            asyncio.run(arun_calls(both, BOX, options))


def test_what_is_not_approved_is_not_run() -> None:
    asked = []

    def approve(call: ToolCall) -> bool:
        asked.append(call.arguments)
        return "上海" in call.arguments

    observations = run_calls(calls("北京", "上海").tool_calls, BOX, RunOptions(approve=approve))
    assert "not approved" in observations[0]
    assert json.loads(observations[1])["aqi"] == 72
    assert len(asked) == 2


def test_the_calls_of_an_answer_run_side_by_side() -> None:
    meeting = threading.Barrier(2, timeout=10)

    def meet(number: int) -> int:
        meeting.wait()
        return number

    both = [ToolCall("meet", '{"number": 1}'), ToolCall("meet", '{"number": 2}')]
    assert run_calls(both, Toolbox.of([meet]), RunOptions()) == ["1", "2"]


def test_a_call_that_ends_its_thread_is_told_apart_from_a_slow_one() -> None:
    def leave() -> None:
        sys.exit(3)

    assert "without a result" in run_calls([ToolCall("leave", "{}")], Toolbox.of([leave]), RunOptions())[0]


@pytest.mark.parametrize(
    "error",
    [SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration, asyncio.CancelledError, RecursionError],
    ids=lambda error: error.__name__,
)
def test_whatever_a_call_raises_ends_it_alone(error: type[BaseException]) -> None:
    def plain() -> str:
        raise error("why")

    async def coroutine() -> str:
        raise error("why")

    async def innocent() -> str:
        await asyncio.sleep(0)
        return "fine"

    toolbox = Toolbox.of([plain, coroutine, innocent])
    calls = [ToolCall(name, "{}") for name in ("plain", "coroutine", "innocent")]
    for _ in range(2):
        *failed, fine = run_calls(calls, toolbox, RunOptions(timeout=None))
        assert all("error" in json.loads(observation) for observation in failed)
        assert fine == "fine"
    if error is SystemExit:  # a KeyboardInterrupt in a loop may be the user's own
        *failed, fine = asyncio.run(arun_calls(calls, toolbox, RunOptions()))
        assert all("error" in json.loads(observation) for observation in failed)
        assert fine == "fine"


class Unwritable(Exception):
    """An error that cannot be written."""

    def __str__(self) -> str:
        raise ValueError("no words")


@pytest.mark.parametrize(
    "error",
    [SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration, asyncio.CancelledError, MemoryError, Unwritable],
    ids=lambda error: error.__name__,
)
def test_whatever_a_function_raises_beside_a_loop_is_told_to_the_model(error: type[BaseException]) -> None:
    def plain() -> str:
        raise error("why")

    async def told() -> list[str]:
        async with asyncio.timeout(20):  # a StopIteration in a future is never told
            return await arun_calls([ToolCall("plain", "{}")], Toolbox.of([plain]), RunOptions())

    assert error.__name__ in json.loads(asyncio.run(told())[0])["error"]


def test_half_of_a_surrogate_pair_that_a_function_returns_or_raises_does_not_end_the_run() -> None:
    def name() -> str:
        return "caf\udce9 \ud83d\ude00"

    def names() -> list[str]:
        return ["caf\udce9"]

    def missing() -> None:
        raise FileNotFoundError("caf\udce9")

    toolbox = Toolbox.of([name, names, missing])
    told = run_calls([ToolCall(one, "{}") for one in ("name", "names", "missing")], toolbox, RunOptions())
    assert told == ["caf\ufffd 😀", '["caf\ufffd"]', '{"error": "FileNotFoundError: caf\ufffd"}']


def test_a_call_that_takes_too_long_is_left_behind() -> None:
    released = threading.Event()

    def wait() -> None:
        released.wait(10)

    observations = run_calls([ToolCall("wait", "{}")], Toolbox.of([wait]), RunOptions(timeout=0.05))
    released.set()
    assert "took longer" in observations[0]


def test_a_function_that_makes_a_coroutine_too_late_leaves_no_thread() -> None:
    released = threading.Event()

    def late() -> Any:
        released.wait(PATIENCE)
        return asyncio.sleep(0)

    assert "took longer" in run_calls([ToolCall("late", "{}")], Toolbox.of([late]), RunOptions(timeout=0.05))[0]
    released.set()
    until(lambda: not any(thread.name == "tool late" for thread in threading.enumerate()))
    assert not any(thread.name == "tools' event loop" for thread in threading.enumerate())


@pytest.mark.parametrize("seconds", [math.inf, 1e12], ids=str)
def test_a_call_may_take_for_ever(seconds: float) -> None:
    calls = [ToolCall("realtime_aqi", '{"city": "北京"}')]
    options = RunOptions(timeout=seconds)
    assert (
        run_calls(calls, BOX, options)
        == asyncio.run(arun_calls(calls, BOX, options))
        == run_calls(calls, BOX, RunOptions())
    )


def test_a_model_that_calls_for_ever_is_stopped() -> None:
    model = Script(*[calls("北京")] * 3)
    result = run(model, QUESTION, BOX, RunOptions(max_turns=3))
    assert (result.turns, result.complete) == (3, False)


@pytest.mark.parametrize(
    "options",
    [{"max_turns": 0}, {"max_turns": 2.5}, {"max_turns": True}, {"timeout": 0.0}, {"timeout": "1"}, {"approve": True}],
    ids=str,
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(RequestError):
        RunOptions(**options)


def test_results_refer_to_their_calls() -> None:
    asked = calls("北京", "上海")
    result = run(Script(asked, ChatResult("?")), QUESTION, BOX, RunOptions())
    told = [message["tool_call_id"] for message in result.messages if message["role"] == "tool"]
    assert told == [call.id for call in asked.tool_calls]
    assert [call["id"] for call in result.messages[1]["tool_calls"]] == told


async def realtime_aqi_later(city: str) -> dict[str, Any]:
    await asyncio.sleep(0)
    LOOPS.append(asyncio.get_running_loop())
    return realtime_aqi(city)


realtime_aqi_later.__name__ = "realtime_aqi"
LOOPS: list[asyncio.AbstractEventLoop] = []


def test_coroutines_of_a_run_are_awaited_on_one_loop() -> None:
    LOOPS.clear()
    model = Script(calls("北京", "上海"), calls("北京"), ChatResult("10"))
    result = run(model, QUESTION, Toolbox.of(realtime_aqi_later), RunOptions())
    observations = [message["content"] for message in result.messages if message["role"] == "tool"]
    assert observations[1:] == ['{"city": "上海", "aqi": 72}', '{"city": "北京", "aqi": 10}']
    assert len(LOOPS) == 3
    assert len(set(LOOPS)) == 1


def test_an_event_loop_awaits_coroutines_itself_and_runs_the_rest_beside_it() -> None:
    LOOPS.clear()
    here = contextvars.ContextVar("here", default="elsewhere")

    def place() -> str:
        return f"{here.get()} {threading.current_thread() is threading.main_thread()}"

    async def answered() -> RunResult:
        here.set("here")
        both = ChatResult("", tool_calls=(*calls("北京").tool_calls, ToolCall("place", "{}")))
        model = Script(both, ChatResult("10"))

        async def answer(history: Sequence[Mapping[str, Any]]) -> ChatResult:
            return model(history)

        result = await arun(answer, QUESTION, Toolbox.of([realtime_aqi_later, place]), RunOptions())
        assert [asyncio.get_running_loop()] == LOOPS
        return result

    messages = asyncio.run(answered()).messages
    assert [message["content"] for message in messages[2:4]] == ['{"city": "北京", "aqi": 10}', "here False"]


async def never() -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        CANCELLED.set()
        raise


CANCELLED = threading.Event()
NEVER = [ToolCall("never", "{}")]


def test_a_coroutine_that_takes_too_long_is_cancelled() -> None:
    for told in (
        lambda: run_calls(NEVER, Toolbox.of(never), RunOptions(timeout=0.05)),
        lambda: asyncio.run(arun_calls(NEVER, Toolbox.of(never), RunOptions(timeout=0.05))),
    ):
        CANCELLED.clear()
        assert "took longer than 0.05 seconds" in told()[0]
        assert CANCELLED.wait(10)


def test_a_function_that_takes_too_long_does_not_hold_up_an_event_loop() -> None:
    released = threading.Event()

    def wait() -> None:
        released.wait(60)

    told = asyncio.run(arun_calls([ToolCall("wait", "{}")], Toolbox.of(wait), RunOptions(timeout=0.05)))
    assert "took longer" in told[0]
    released.set()


def fails() -> None:
    raise KeyError("x")


async def fails_later() -> None:
    raise KeyError("x")


async def gives_up() -> None:
    raise asyncio.CancelledError


def leaves() -> None:
    sys.exit(3)


@pytest.mark.parametrize(
    ("tool", "text"),
    [
        (fails, "KeyError: 'x'"),
        (fails_later, "KeyError: 'x'"),
        (gives_up, "cancelled"),
        (leaves, "ended by SystemExit"),
    ],
)
def test_what_goes_wrong_in_an_event_loop_is_told_to_the_model(tool: Callable[..., Any], text: str) -> None:
    assert text in asyncio.run(arun_calls([ToolCall(tool.__name__, "{}")], Toolbox.of(tool), RunOptions()))[0]
    assert "no functions" in asyncio.run(arun_calls([ToolCall("f", "{}")], Toolbox.of([]), RunOptions()))[0]


def test_an_approval_may_be_a_coroutine() -> None:
    async def approve(call: ToolCall) -> bool:
        await asyncio.sleep(0)
        return "上海" in call.arguments

    both = calls("北京", "上海").tool_calls
    for told in (
        run_calls(both, BOX, RunOptions(approve=approve)),
        asyncio.run(arun_calls(both, BOX, RunOptions(approve=approve))),
        asyncio.run(arun_calls(both, BOX, RunOptions(approve=lambda call: "上海" in call.arguments))),
    ):
        assert "not approved" in told[0]
        assert json.loads(told[1])["aqi"] == 72


@pytest.fixture(scope="module")
def glm(tiny_gguf: Callable[[str], Path]) -> Iterator[GLM]:
    with GLM(tiny_gguf("Q8_0"), options=EngineOptions(threads=1, n_ctx=2048)) as opened:
        yield opened


CITIES = [{"role": "user", "content": "北京和上海的空气质量怎么样？"}]
DEMO_TOOLS = Toolbox(FUNCTIONS, DECLARATIONS)
GREEDY: Any = {"temperature": 0, "max_tokens": 200}


def test_the_tiny_model_answers_for_two_cities(glm: GLM) -> None:
    result = glm.run(CITIES, DEMO_TOOLS, max_turns=3, **GREEDY)
    called = [call["function"] for call in result.messages[1]["tool_calls"]]
    assert called == [{"name": "realtime_aqi", "arguments": f'{{"city": "{city}"}}'} for city in ("北京", "上海")]
    assert result.complete
    assert "10" in result.content
    assert "72" in result.content


def test_a_run_streams_what_it_returns(glm: GLM) -> None:
    whole = glm.run(CITIES, DEMO_TOOLS, **GREEDY)
    events = list(glm.stream_run(CITIES, DEMO_TOOLS, **GREEDY))
    result = events[-1]
    assert isinstance(result, RunResult)
    assert (result.content, result.turns) == (whole.content, 2)
    kinds = [type(event) for event in events]
    assert kinds.count(Finish) == 2
    assert [event.content for event in events if isinstance(event, ToolResult)] == [
        message["content"] for message in whole.messages if message["role"] == "tool"
    ]
    assert kinds.index(Finish) < kinds.index(ToolResult) < len(kinds) - 1 - kinds[::-1].index(Finish)


def test_a_run_in_an_event_loop_is_the_same(glm: GLM) -> None:
    whole = glm.run(CITIES, DEMO_TOOLS, **GREEDY)

    async def asked() -> tuple[RunResult, list[RunEvent]]:
        streamed = [event async for event in glm.astream_run(CITIES, DEMO_TOOLS, **GREEDY)]
        return await glm.arun(CITIES, DEMO_TOOLS, **GREEDY), streamed

    result, streamed = asyncio.run(asked())
    assert result.content == whole.content
    assert isinstance(streamed[-1], RunResult)
    assert streamed[-1].content == whole.content


def test_a_run_that_is_closed_stops_the_model(glm: GLM) -> None:
    with closing(glm.stream_run(CITIES, DEMO_TOOLS, ignore_eos=True, temperature=0)) as events:
        next(events)
    assert glm.chat("Hello", temperature=0, max_tokens=1).usage.completion_tokens == 1


@pytest.mark.parametrize("method", ["run", "arun", "stream_run", "astream_run"])
@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"max_turns": 0}, "max_turns"),
        ({"limits": {"max_turn": 1}}, "did you mean 'max_turns'"),
        ({"limits": 3}, "limits"),
        ({"tools": [{"name": "f"}]}, "no function"),
        ({"messages": []}, "messages"),
    ],
    ids=str,
)
def test_a_run_that_makes_no_sense_is_refused_at_the_call(
    glm: GLM, method: str, given: dict[str, Any], match: str
) -> None:
    def begun() -> None:
        made = getattr(glm, method)(**{"messages": CITIES, "tools": [realtime_aqi]} | given)
        asyncio.run(made)  # only arun() gets so far

    with pytest.raises(RequestError, match=match):
        begun()


def test_a_tool_on_an_event_loop_can_be_cancelled_with_its_run(glm: GLM) -> None:
    begun = asyncio.Event()

    async def realtime_aqi(city: str) -> None:
        """天气预报。获取实时空气质量"""
        begun.set()
        await never()

    async def cancelled() -> None:
        task = asyncio.create_task(glm.arun(CITIES, realtime_aqi, **GREEDY))
        await begun.wait()
        task.cancel()
        await task

    CANCELLED.clear()
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())
    assert CANCELLED.wait(10)
