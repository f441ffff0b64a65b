"""The template of 2024's chat models renders as the official one, empty turns apart; it takes tools beside messages."""

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from glm_gguf.chat.messages import template_messages
from glm_gguf.chat.segments import joined_text
from glm_gguf.chat.template import ChatTemplate, bundled_template
from glm_gguf.errors import RequestError
from glm_gguf.variant import Variant, takes_tools_from_messages

SHARED = Path(__file__).resolve().parents[3] / "shared" / "glm"
GOLDEN = SHARED / "golden" / "glm-4-9b-chat-2024.json"
OFFICIAL = SHARED / "2024" / "glm-4-9b-chat.jinja"
OURS = ChatTemplate(bundled_template(Variant.CHAT_2024))
EMPTY = "empty_result_vanishes"
"""The golden that shows what the official template does with an empty turn."""

here = pytest.mark.skipif(not OFFICIAL.is_file(), reason="the official files are not here")


def cases() -> list[Any]:
    golden = json.loads(GOLDEN.read_text("utf-8")) if GOLDEN.is_file() else {}
    return [pytest.param(case, id=name) for name, case in golden.items() if name != EMPTY] or [
        pytest.param(None, marks=pytest.mark.skip("the golden renderings are not here"))
    ]


def tools_beside(messages: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return messages without the list of tools in the first one, and that list."""
    tools = messages[0].get("tools", [])
    rest = [{key: value for key, value in message.items() if key != "tools"} for message in messages]
    return rest if rest[0]["content"] else rest[1:], tools


def official(messages: list[dict[str, Any]]) -> str:
    """Render with the official template as transformers does."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = lambda value, **options: json.dumps(value, ensure_ascii=False, **options)
    template = environment.from_string(OFFICIAL.read_text("utf-8"))
    return template.render(messages=messages, add_generation_prompt=True)


@pytest.mark.parametrize("case", cases())
def test_the_golden_conversations_render(case: dict[str, Any]) -> None:
    messages, tools = tools_beside(case["input"]["messages"])
    assert joined_text(OURS.render(messages, tools)) == case["rendered"]
    assert joined_text(OURS.render(template_messages(messages), tools)) == case["rendered"]


TEXTS = ("Hello", "北京天气?", '{"a": "b\\n"}', "line\n\nline", " ", "1", "<b>&amp;</b>", "{{ x }}", "π\u2028")


def random_conversation(random: Random) -> list[dict[str, Any]]:
    """Any turns in any order, none empty; perhaps tools on a first system message."""
    turns: list[dict[str, Any]] = []
    for _ in range(random.randrange(1, 12)):
        role = random.choice(["system", "user", "assistant", "call", "observation"])
        content = "".join(random.choices(TEXTS, k=random.randrange(1, 4)))
        turns.append({"role": role, "content": content})
        if role == "call":
            turns[-1] = {"role": "assistant", "metadata": random.choice(["get_weather", "python"]), "content": content}
    if random.random() < 0.6:
        names = random.sample(["get_weather", "python", "simple_browser", "cogview", "天气"], random.randrange(1, 4))
        tools = [
            {"type": "function", "function": {"name": name, "description": "π", "parameters": {}}} for name in names
        ]
        turns.insert(0, {"role": "system", "content": random.choice([None, "Be brief."]), "tools": tools})
    return turns


@here
def test_random_conversations_render_as_by_the_official_template() -> None:
    random = Random(2024)
    for _ in range(500):
        turns = random_conversation(random)
        messages, tools = tools_beside(turns)
        assert joined_text(OURS.render(messages, tools)) == official(turns)


@here
def test_the_official_template_is_recognised_by_where_it_looks_for_tools() -> None:
    source = OFFICIAL.read_text("utf-8")
    assert takes_tools_from_messages(source)
    assert not takes_tools_from_messages(OURS.source)
    assert OURS.reads_tools


@here
def test_turns_without_content_are_kept_which_the_official_template_drops() -> None:
    messages = json.loads(GOLDEN.read_text("utf-8"))[EMPTY]["input"]["messages"]
    assert official(messages).endswith("<|assistant|>f\n{}<|assistant|>")
    assert joined_text(OURS.render(messages)).endswith("<|assistant|>f\n{}<|observation|>\n<|assistant|>")


def test_openais_form_of_calls_and_results_renders_as_the_templates_own() -> None:
    asked = {"role": "user", "content": "?"}
    calls = [{"id": f"c{n}", "function": {"name": "f", "arguments": f'{{"n": {n}}}'}} for n in (1, 2)]
    results = [{"role": "tool", "tool_call_id": f"c{n}", "content": str(n)} for n in (2, 1)]
    history = template_messages([asked, {"role": "assistant", "content": None, "tool_calls": calls}, *results])
    assert joined_text(OURS.render(history)) == (
        '[gMASK]<sop><|user|>\n?<|assistant|>f\n{"n": 1}<|assistant|>f\n{"n": 2}'
        "<|observation|>\n1<|observation|>\n2<|assistant|>"
    )


def test_tools_in_a_message_are_refused_by_name() -> None:
    with pytest.raises(RequestError) as refused:
        template_messages([{"role": "system", "content": "Hi", "tools": [{"type": "function"}]}])
    assert refused.value.field == "messages[0].tools"
