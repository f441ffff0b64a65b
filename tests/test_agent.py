"""Runs: calls side by side, errors told to the model, approval, timeouts and the end of turns."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from glm_gguf.agent import RunOptions, run, run_calls
from glm_gguf.chat.events import ChatResult, ToolCall
from glm_gguf.chat.messages import template_messages
from glm_gguf.chat.tools import Toolbox
from glm_gguf.demo.tools import DECLARATIONS, FUNCTIONS
from glm_gguf.engine.options import EngineOptions
from glm_gguf.engine.sampling import SamplingParams
from glm_gguf.errors import RequestError
from glm_gguf.model import GLM

QUESTION = [{"role": "user", "content": "北京和上海的空气质量如何？"}]


def realtime_aqi(city: str) -> dict[str, Any]:
    """天气预报。获取实时空气质量。"""
    return {"city": city, "aqi": {"北京": 10, "上海": 72}[city]}


def calls(*cities: str) -> ChatResult:
    made = tuple(ToolCall("realtime_aqi", json.dumps({"city": city}, ensure_ascii=False)) for city in cities)
    return ChatResult("", tool_calls=made, finish_reason="tool_calls")


class Script:
    """A model that says what it was told to, and remembers what it saw."""

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


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_call_that_ends_its_thread_is_told_apart_from_a_slow_one() -> None:
    def leave() -> None:
        sys.exit(3)

    assert "without a result" in run_calls([ToolCall("leave", "{}")], Toolbox.of([leave]), RunOptions())[0]


def test_a_call_that_takes_too_long_is_left_behind() -> None:
    released = threading.Event()

    def wait() -> None:
        released.wait(10)

    observations = run_calls([ToolCall("wait", "{}")], Toolbox.of([wait]), RunOptions(timeout=0.05))
    released.set()
    assert "took longer" in observations[0]


def test_a_model_that_calls_for_ever_is_stopped() -> None:
    model = Script(*[calls("北京")] * 3)
    result = run(model, QUESTION, BOX, RunOptions(max_turns=3))
    assert (result.turns, result.complete) == (3, False)


@pytest.mark.parametrize("options", [{"max_turns": 0}, {"timeout": 0.0}, {"timeout": -1.0}], ids=str)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(RequestError):
        RunOptions(**options)


def test_the_tiny_model_answers_for_two_cities(tiny_gguf: Callable[[str], Path]) -> None:
    question = [{"role": "user", "content": "北京和上海的空气质量怎么样？"}]
    sampling = SamplingParams(temperature=0, max_tokens=200)
    with GLM(tiny_gguf("Q8_0"), options=EngineOptions(threads=1, n_ctx=2048)) as glm:
        result = glm.run(question, Toolbox(FUNCTIONS, DECLARATIONS), sampling, max_turns=3)
    called = [call["function"] for call in result.messages[1]["tool_calls"]]
    assert called == [{"name": "realtime_aqi", "arguments": f'{{"city": "{city}"}}'} for city in ("北京", "上海")]
    assert result.complete
    assert "10" in result.content
    assert "72" in result.content
