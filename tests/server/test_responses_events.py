"""An answer becomes the events and the response that OpenAI's client understands."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from openai import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter
from server.answer_scripts import SCRIPTS, CountedIds, answers, split

from glm_gguf.chat.events import Event, Finish, TextDelta, ToolCallCut, ToolCallDelta, ToolCallStart
from glm_gguf.server.problem import Problem
from glm_gguf.server.responses.events import ResponseEvents
from glm_gguf.server.responses.request import ResponseRequest
from glm_gguf.server.responses.response import WholeResponse, response_frame

EVERY_SCRIPT = pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
CLIENT_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def new_fold(*, summary: bool = False) -> ResponseEvents:
    frame = response_frame(ResponseRequest(input="Hello"), "resp_1", "glm", 1)
    return ResponseEvents(frame, CountedIds(), summary=summary)


def folded(script: list[Event], *, summary: bool = False) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    fold = new_fold(summary=summary)
    events = [*fold.begin(), *(wire for event in script for wire in fold.feed(event)), *fold.flush()]
    return events, fold.response


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


@EVERY_SCRIPT
@pytest.mark.parametrize("summary", [False, True], ids=["thoughts as they are", "thoughts as summaries"])
def test_every_event_is_one_of_the_clients(script: list[Event], summary: bool) -> None:
    events, response = folded(script, summary=summary)
    for event in events:
        CLIENT_EVENT.validate_python(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    Response.model_validate(response)
    WholeResponse.model_validate(response)


@EVERY_SCRIPT
def test_the_client_gathers_the_response_from_the_stream(script: list[Event]) -> None:
    require_the_client_gathers_the_response(script)


@settings(deadline=None, max_examples=60)
@given(answers())
def test_the_client_gathers_any_response_from_its_stream(script: list[Event]) -> None:
    require_the_client_gathers_the_response(script)
    require_the_client_gathers_the_response(split(script))


def told(item: dict[str, Any]) -> dict[str, Any]:
    """Return what every version of the client gathers of an item: neither its last status nor a thought's text."""
    left_out = ("status", "content") if item["type"] == "reasoning" else ("status",)
    return {name: value for name, value in item.items() if name not in left_out}


def require_the_client_gathers_the_response(script: list[Event]) -> None:
    events, response = folded(script)
    state: Any = ResponseStreamState(input_tools=omit, text_format=omit)
    for event in events:
        state.handle_event(CLIENT_EVENT.validate_python(event))
    gathered = state._ResponseStreamState__current_snapshot.output
    assert [told(item.to_dict()) for item in gathered] == [told(item) for item in response["output"]]
    assert events[-1]["response"] == response


@EVERY_SCRIPT
def test_deltas_add_up_to_what_is_done(script: list[Event]) -> None:
    require_deltas_add_up(script)


@settings(deadline=None, max_examples=60)
@given(answers())
def test_deltas_of_any_answer_add_up_to_what_is_done(script: list[Event]) -> None:
    require_deltas_add_up(script)


def require_deltas_add_up(script: list[Event]) -> None:
    events, response = folded(script)
    written: dict[str, str] = {item["id"]: "" for item in response["output"]}
    for event in events:
        if event["type"].endswith(".delta"):
            written[event["item_id"]] += event["delta"]
    for item in response["output"]:
        done = item.get("arguments") if item["type"] == "function_call" else item["content"][0]["text"]
        assert written[item["id"]] == done


@EVERY_SCRIPT
def test_the_response_does_not_depend_on_the_pieces(script: list[Event]) -> None:
    assert folded(split(script))[1] == folded(script)[1]


@EVERY_SCRIPT
def test_items_are_opened_and_closed_in_turn(script: list[Event]) -> None:
    events = [event for event in folded(script)[0] if "output_index" in event]
    opened = [event["output_index"] for event in events if event["type"] == "response.output_item.added"]
    closed = [event["output_index"] for event in events if event["type"] == "response.output_item.done"]
    assert opened == closed == list(range(len(opened)))
    assert [event["output_index"] for event in events] == sorted(event["output_index"] for event in events)


ORDERS = {
    "text": [
        *("output_item.added", "content_part.added", "output_text.delta", "output_text.delta", "output_text.done"),
        *("content_part.done", "output_item.done", "completed"),
    ],
    "nothing": [
        *("output_item.added", "content_part.added", "output_text.delta", "output_text.done"),
        *("content_part.done", "output_item.done", "completed"),
    ],
    "a thought and a call": [
        *("output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.done"),
        *("content_part.done", "output_item.done"),
        *("output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done"),
        "completed",
    ],
    "a call, and one cut": [
        *("output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done"),
        *("output_item.added", "function_call_arguments.delta", "output_item.done", "incomplete"),
    ],
}


@pytest.mark.parametrize(("name", "order"), ORDERS.items(), ids=ORDERS.keys())
def test_the_order_of_events(name: str, order: list[str]) -> None:
    assert kinds(folded(SCRIPTS[name])[0]) == ["created", "in_progress", *order]


def test_a_summary_is_told_as_one() -> None:
    events, response = folded(SCRIPTS["a thought and text"], summary=True)
    assert kinds(events)[2:9] == [
        *("output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta"),
        *("reasoning_summary_text.delta", "reasoning_summary_text.done", "reasoning_summary_part.done"),
        "output_item.done",
    ]
    assert response["output"][0]["summary"] == [{"type": "summary_text", "text": "So be it."}]


STATUSES = {
    "text": ("completed", ["completed"]),
    "a thought cut": ("incomplete", ["incomplete"]),
    "prose and two calls": ("completed", ["completed", "completed", "completed"]),
    "a call cut": ("incomplete", ["completed", "incomplete"]),
    "a call, and one cut": ("incomplete", ["completed", "incomplete"]),
    "a call cut before its brace": ("incomplete", ["incomplete"]),
    "a stop text": ("completed", ["completed"]),
    "a deadline": ("incomplete", ["incomplete"]),
    "nothing before the room ends": ("incomplete", []),
    "broken off": ("incomplete", ["incomplete"]),
}


@pytest.mark.parametrize(("name", "expected"), STATUSES.items(), ids=STATUSES.keys())
def test_what_is_complete(name: str, expected: tuple[str, list[str]]) -> None:
    response = folded(SCRIPTS[name])[1]
    assert (response["status"], [item["status"] for item in response["output"]]) == expected
    assert (response["incomplete_details"] is None) == (response["status"] == "completed")


def test_usage_is_counted() -> None:
    usage = folded(SCRIPTS["a thought cut"])[1]["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (5, 4, 9)
    assert usage["output_tokens_details"] == {"reasoning_tokens": 4}


def test_log_probabilities_are_those_of_the_visible_text() -> None:
    events, response = folded(SCRIPTS["log probabilities"])
    told = response["output"][0]["content"][0]["logprobs"]
    assert [(token["token"], token["logprob"]) for token in told] == [("Hel", -0.25), ("lo", -1.0)]
    assert [token["token"] for token in told[0]["top_logprobs"]] == ["Hel", "Bye"]
    streamed = [token for event in events if event["type"].endswith("text.delta") for token in event["logprobs"]]
    assert streamed == told


def test_an_answer_that_fails_says_so() -> None:
    fold = new_fold()
    events = [*fold.begin(), *fold.feed(SCRIPTS["text"][0]), *fold.fail(Problem(500, "out of cells"))]
    for event in events:
        CLIENT_EVENT.validate_python(event)
    assert kinds(events)[-2:] == ["output_item.done", "failed"]
    assert fold.response["error"] == {"code": "server_error", "message": "out of cells"}
    assert list(fold.flush()) == []


TOOLS = ResponseRequest.model_validate(
    {
        "input": "Hello",
        "tools": [
            {"type": "custom", "name": "patch"},
            {"type": "namespace", "name": "git", "description": "", "tools": [{"type": "function", "name": "log"}]},
            {"type": "namespace", "name": "ns_", "description": "", "tools": [{"type": "custom", "name": "say"}]},
        ],
    }
)
PATCHED: list[Event] = [
    ToolCallStart(0, "patch"),
    ToolCallDelta(0, '{"input": "*** \\'),
    ToolCallDelta(0, 'n\\"x\\""}'),
    ToolCallStart(1, "git__log"),
    ToolCallDelta(1, '{"n": 1}'),
    ToolCallStart(2, "ns_say"),
    ToolCallDelta(2, '{"input": ""}'),
    Finish("tool_calls"),
]


def custom_fold(script: list[Event]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    frame = response_frame(TOOLS, "resp_1", "glm", 1)
    fold = ResponseEvents(frame, CountedIds(), tools=TOOLS.offered)
    events = [*fold.begin(), *(wire for event in script for wire in fold.feed(event)), *fold.flush()]
    for event in events:
        CLIENT_EVENT.validate_python(event)
    WholeResponse.model_validate(fold.response)
    return events, Response.model_validate(fold.response).model_dump(mode="json", exclude_unset=True)


def test_calls_go_by_the_names_that_the_client_knows() -> None:
    _, response = custom_fold(PATCHED)
    kept = ("type", "name", "namespace", "input", "arguments")
    assert [{key: item[key] for key in kept if key in item} for item in response["output"]] == [
        {"type": "custom_tool_call", "name": "patch", "input": '*** \n"x"'},
        {"type": "function_call", "name": "log", "namespace": "git", "arguments": '{"n": 1}'},
        {"type": "custom_tool_call", "name": "say", "namespace": "ns_", "input": ""},
    ]
    assert response["tools"] == TOOLS.model_dump(exclude_unset=True)["tools"]


@pytest.mark.parametrize("script", [PATCHED, split(PATCHED)], ids=["in pieces", "letter by letter"])
def test_the_text_of_a_custom_tool_streams(script: list[Event]) -> None:
    events, _ = custom_fold(script)
    deltas = [event["delta"] for event in events if event["type"] == "response.custom_tool_call_input.delta"]
    done = [event for event in events if event["type"] == "response.custom_tool_call_input.done"]
    assert "".join(deltas) == '*** \n"x"' == done[0]["input"]
    assert [event["output_index"] for event in done] == [0, 2]
    assert "input.done" in [kind.removeprefix("custom_tool_call_") for kind in kinds(events)]


def test_the_text_of_a_cut_custom_call_is_never_done() -> None:
    cut: list[Event] = [*PATCHED[:2], ToolCallCut(0), TextDelta("patch"), Finish("length")]
    events, response = custom_fold(cut)
    assert response["output"][0]["input"] == "*** "
    assert response["status"] == "incomplete"
    assert not [event for event in events if event["type"].endswith("input.done")]
