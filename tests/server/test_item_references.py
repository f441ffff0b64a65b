"""Requests of the AI SDK: they name items of earlier responses instead of sending them again."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from server.questions import TOOLS, WEATHER

from glm_gguf.chat.tools import result_text
from glm_gguf.demo.tools import FUNCTIONS
from glm_gguf.server.problem import Refused
from glm_gguf.server.responses.kept_items import KeptItems
from glm_gguf.server.responses.request import ResponseRequest

GREEDY: dict[str, Any] = {"model": "tiny", "temperature": 0, "max_output_tokens": 60}
TOOL: Any = {"type": "function", **TOOLS["get_weather"]["function"]}
PARIS = result_text(FUNCTIONS["get_weather"]("Paris"))
NEXT = {"role": "user", "content": [{"type": "input_text", "text": "Hello"}]}


def answered(client: openai.OpenAI, *, stream: bool, **fields: Any) -> Any:
    """Return a response, whole or from the end of its stream."""
    if not stream:
        return client.responses.create(**GREEDY, **fields)
    with client.responses.stream(**GREEDY, **fields) as events:
        return events.get_final_response()


def named(item: Any) -> dict[str, Any]:
    return {"type": "item_reference", "id": item.id}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_an_item_that_is_named_is_read_as_if_it_were_sent(client: openai.OpenAI, stream: bool) -> None:
    (call,) = answered(client, stream=stream, input=WEATHER, tools=[TOOL]).output
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": PARIS}
    sent: list[Any] = [*WEATHER, call, result]
    (text,) = answered(client, stream=stream, input=[*WEATHER, named(call), result], tools=[TOOL]).output
    assert text.content[0].text == answered(client, stream=False, input=sent, tools=[TOOL]).output[0].content[0].text
    references: list[Any] = [*WEATHER, named(call), {"type": "item_reference", "id": "rs_1"}, result, {"id": text.id}]
    counts = [
        client.responses.input_tokens.count(model="tiny", input=[*items, NEXT], tools=[TOOL]).input_tokens
        for items in ([*sent, text], references)
    ]
    assert counts[0] == counts[1]
    raw = client.responses.with_raw_response.create(input=[*references, NEXT], tools=[TOOL], **GREEDY)
    assert "x-ignored-fields" not in raw.headers


def test_an_item_that_is_not_kept_is_refused_by_its_place(client: openai.OpenAI) -> None:
    (text,) = client.responses.create(input="Hello", store=False, **GREEDY).output
    with pytest.raises(openai.NotFoundError, match="give the item itself") as caught:
        client.responses.create(input=[{"role": "user", "content": "Hello"}, named(text), NEXT], **GREEDY)  # type: ignore[list-item, arg-type]
    assert caught.value.param == "input[1].id"


def item(name: str, text: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": [{"token": "x" * 1000}]}
    return {"id": name, "type": "message", "role": "assistant", "content": [part]}


def test_the_least_recently_used_items_give_way() -> None:
    kept = KeptItems(700)
    request = ResponseRequest.model_validate({"input": [{"type": "item_reference", "id": "msg_0"}] * 3})
    for index in range(4):
        kept.keep(item(f"msg_{index}", "a" * 50))
        made = kept.resolved(request).to_request()
        assert [message["content"][0]["text"] for message in made.messages] == ["a" * 50] * 3
    kept.keep(item("msg_9", "a" * 1000))
    with pytest.raises(Refused, match="'msg_0'"):
        kept.resolved(request)
