"""Whole texts with spelled control tokens: parse_reply, and random calls."""

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glm_gguf.chat import spelled_text
from glm_gguf.chat.call_head import HeadReader
from glm_gguf.chat.events import TextDelta, ToolCall, ToolCallCut, ToolCallDelta, ToolCallStart, collect
from glm_gguf.chat.expected_form import ExpectedForm
from glm_gguf.chat.json_object import ObjectExtent, Scan, scan_object
from glm_gguf.chat.spelled_text import Message, parse_reply
from glm_gguf.chat.thought_parser import ThoughtParser
from glm_gguf.chat.token_parser import TokenParser
from tests.chat.cutting import MARK_IDS, feed_in_pieces

ROLE_WORDS = [
    "<|assistant|>",
    "<|observation|>",
    "<|user|>",
    "\n",
    "}",
    "{",
    "```",
    '"',
    "\\",
    "get\n{}",
    "</think>",
    "'",
]
STRINGS = st.lists(st.sampled_from(ROLE_WORDS) | st.text(max_size=4), max_size=4).map("".join)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | STRINGS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(STRINGS, inner, max_size=3), max_leaves=8
)
ARGUMENTS = st.dictionaries(STRINGS, VALUES, max_size=4)
NAMES = st.sampled_from(["get", "get_weather", "天气", "db.query"])
LAYOUTS = st.sampled_from([{}, {"indent": 2}, {"separators": (",", ":")}, {"ensure_ascii": False}])
CALLS = st.lists(st.tuples(NAMES, ARGUMENTS, LAYOUTS), min_size=1, max_size=3)
JOINTS = st.sampled_from(["<|assistant|>", "<|assistant|>\n", "\n", ""])
TOOLS = ("get", "get_weather", "天气", "db.query")


def written(arguments: dict[str, Any], layout: dict[str, Any]) -> str:
    # No half surrogates: they cannot be encoded, and no tokenizer yields them.
    return json.dumps(arguments, **layout).encode("utf-8", "replace").decode()


@settings(max_examples=120, deadline=None)
@given(CALLS, JOINTS, st.sampled_from(["", "<|observation|>", "\n<|observation|>"]), st.booleans())
def test_random_calls_are_parsed_back(
    calls: list[tuple[str, dict[str, Any], dict[str, Any]]], joint: str, end: str, prose: bool
) -> None:
    meant = tuple(ToolCall(name, written(arguments, layout)) for name, arguments, layout in calls)
    text = joint.join(f"{call.name}\n{call.arguments}" for call in meant) + end
    reply = parse_reply(("\nLet me look.<|assistant|>" if prose else "") + text, TOOLS)
    assert reply == Message("Let me look." if prose else "", "", meant)


@settings(max_examples=80, deadline=None)
@given(CALLS, st.lists(st.integers(1, 7), min_size=1, max_size=5), st.booleans())
def test_it_does_so_in_tokens_and_streamed(
    calls: list[tuple[str, dict[str, Any], dict[str, Any]]], lengths: list[int], certain: bool
) -> None:
    meant = tuple(ToolCall(name, written(arguments, layout)) for name, arguments, layout in calls)
    text = "<|assistant|>".join(f"{call.name}\n{call.arguments}" for call in meant) + "<|observation|>"
    cuts = (lengths[index % len(lengths)] for index in range(10**9))
    assert collect(feed_in_pieces(text, ExpectedForm(TOOLS, certain=certain), cuts)).tool_calls == meant


def test_arguments_stream_where_a_grammar_makes_them_certain() -> None:
    tokens = [b"get", b"\n", b'{"a', b'": 1', b"}"]
    parser = TokenParser(lambda index: tokens[index - 10], MARK_IDS, ExpectedForm(TOOLS, certain=True))
    events = [list(parser.feed(10 + index)) for index in range(len(tokens))]
    assert events[:2] == [[], []]
    assert events[2] == [ToolCallStart(0, "get"), ToolCallDelta(0, '{"a')]
    assert events[3:] == [[ToolCallDelta(0, '": 1')], [ToolCallDelta(0, "}")]]


@pytest.mark.parametrize("cut", [1, 2, 3, 100])
@pytest.mark.parametrize(
    ("opening", "streams"),
    [
        ("", True),
        ("\n", True),
        ("\n\n", True),
        ("\n\n\n", False),
        (" ", False),
        (" \n", False),
        ("\n ", False),
        ("```\n", False),
        ("Well.\n", False),
    ],
    ids=repr,
)
def test_behind_a_thought_arguments_stream_where_the_grammar_wrote_the_head(
    opening: str, streams: bool, cut: int
) -> None:
    text = f'Hm.</think>{opening}get\n{{"a": '
    pieces = [text[at : at + cut].encode() for at in range(0, len(text), cut)]
    form = ExpectedForm(TOOLS, starts_in_thought=True, certain=True)
    parser = TokenParser(lambda index: pieces[index - 10], MARK_IDS, form)
    events = [event for index in range(len(pieces)) for event in parser.feed(10 + index)]
    assert (ToolCallStart(0, "get") in events) == streams


def test_without_a_grammar_a_call_comes_whole() -> None:
    tokens = [b"get", b"\n", b'{"a', b'": 1', b"}"]
    parser = TokenParser(lambda index: tokens[index - 10], MARK_IDS, ExpectedForm(TOOLS))
    events = [list(parser.feed(10 + index)) for index in range(len(tokens))]
    assert events == [[], [], [], [], [ToolCallStart(0, "get"), ToolCallDelta(0, '{"a": 1}')]]


def test_a_streamed_call_that_is_cut_becomes_text() -> None:
    tokens = {10: b"get\n", 11: b'{"a": ', 12: b"1"}
    parser = TokenParser(tokens.__getitem__, MARK_IDS, ExpectedForm(TOOLS, certain=True))
    events = [event for token in tokens for event in parser.feed(token)] + list(parser.flush())
    assert ToolCallCut(0) in events
    result = collect(events)
    assert (result.content, result.tool_calls, parser.has_calls) == ('get\n{"a": 1', (), False)


def test_a_thought_whose_tag_the_prompt_opened() -> None:
    reply = parse_reply('Hm.\n</think>\nget\n{"a": 1}<|observation|>', ["get"])
    assert reply == Message("", "Hm.", (ToolCall("get", '{"a": 1}'),))


def test_a_closing_tag_inside_arguments_is_no_thought() -> None:
    assert parse_reply('get\n{"a": "</think>"}', ["get"]).tool_calls[0].arguments == '{"a": "</think>"}'


def test_tools_may_be_functions_declarations_or_names() -> None:
    def get(a: int) -> int:
        return a

    declaration = {"type": "function", "function": {"name": "get", "parameters": {}}}
    for tool in (get, declaration, declaration["function"], "get"):
        reply = parse_reply("\nSo.\nget\n{}<|user|>", [tool])  # type: ignore[list-item]
        assert reply == Message("So.", "", (ToolCall("get", "{}"),))
    assert parse_reply("get\n{}").tool_calls == (ToolCall("get", "{}", declared=False),)


def test_a_python_literal_is_read_in_lenient_mode_alone() -> None:
    text = "get\n{'a': True}"
    assert parse_reply(text, ["get"]) == Message(text)
    assert parse_reply(text, ["get"], lenient=True).tool_calls == (ToolCall("get", '{"a": true}', repaired=True),)


def test_prose_and_call_whose_token_was_dropped_are_parted() -> None:
    reply = parse_reply('\nLet me look.get_weather\n{"city": "A"}', ["get_weather"])
    assert reply == Message("Let me look.", "", (ToolCall("get_weather", '{"city": "A"}'),))
    reply = parse_reply("\n让我看看。天气\n{}", ["天气"])
    assert reply == Message("让我看看。", "", (ToolCall("天气", "{}"),))
    for text in ("I use get_weather\n{}", "See api.get_weather\nfor more", "See x.get_weather\n{broken"):
        assert parse_reply(text, ["get_weather"]).tool_calls == ()


def test_hostile_literals_are_text() -> None:
    for text in ("get\n{'a': " + "[" * 5000 + "]" * 5000 + "}", "get\n{'a': '" + "x" * 100_000 + "'}"):
        assert parse_reply(text, ["get"], lenient=True).tool_calls == ()


HOSTILE = (
    *('n\n{"<|assistant|>', "get\n{", "```\n", "get\n", '{"a":', "get\n```json\n", 'get\n{"a":"<|assistant|>'),
    *('n\n{"\n<|assistant|>"', 'n\n{"a":{"b":"<|assistant|>', 'get\n{"x<|assistant|>get\n{}', "get\n{'<|assistant|>"),
    *('get\n{"a":["<|assistant|>",', '{"name":"get","arguments":{"a":"<|assistant|>', 'get\n{"a":"<|assistant|>\\'),
)
"""Texts that, repeated, open objects without an end, each with a role in it."""


def looked_at(text: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Count the characters scanned for ends of objects, at every role and while the text arrives."""
    seen = 0

    def scanning(text: str, start: int) -> Scan:
        nonlocal seen
        found = scan_object(text, start)
        seen += found.seen - start
        return found

    def closing(extent: ObjectExtent, character: str) -> bool:
        nonlocal seen
        seen += 1
        return closes(extent, character)

    closes = ObjectExtent._closes
    with monkeypatch.context() as patch:
        patch.setattr(spelled_text, "scan_object", scanning)
        patch.setattr(ObjectExtent, "_closes", closing)
        parse_reply(text, ["get"])
    return seen


@pytest.mark.parametrize("unit", HOSTILE)
def test_hostile_texts_are_read_in_linear_time(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each character is scanned a few times at most; the text is read up to three times."""
    for count in (500, 2000):
        assert looked_at(unit * count, monkeypatch) <= 12 * len(unit) * count


def test_thousands_of_thoughts_in_one_text_are_read() -> None:
    assert parse_reply("<think></think>" * 5000 + "Hi").content == "Hi"


@pytest.mark.parametrize("blank", ["\n", " ", " \n", "\t"], ids=repr)
@pytest.mark.parametrize(
    "head", ["get", "get\n", "x\n", "```get\n", "get\n```json", "get\n```json\n", "```", "", "\n", "Hi\n"]
)
def test_blank_space_without_end_is_held_up_to_a_bound(head: str, blank: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Endless blank space stays cheap: every token rereads a bounded text."""
    seen = []
    monkeypatch.setattr(HeadReader, "read", lambda reader, text: seen.append(len(text)) or read(reader, text))
    for pieces in ([head, *[blank] * 3000, "."], [head + blank * 3000 + "."]):
        parser = ThoughtParser(ExpectedForm(("get",)))
        events = [event for piece in pieces for event in parser.feed(piece)] + list(parser.flush())
        text = "".join(event.text for event in events if isinstance(event, TextDelta))
        assert text.split() == [*head.split(), "."]
        if len(pieces) > 1:
            assert max(seen, default=0) < 600


read = HeadReader.read


def test_a_long_hostile_text_is_read_at_once() -> None:
    start = time.process_time()
    parse_reply('n\n{"<|assistant|>' * 20_000, ["get"])
    assert time.process_time() - start < 8  # quadratic, it was minutes


OBJECTS = st.sampled_from(
    [
        '{"a": [1, -2.5e3, true, null, {"b": "}"}]} x',
        "{}",
        '{"a" 1}',
        '{"a": 1,}',
        '{"a": [1,]}',
        '{"a": [1}',
        "{'a': 1}",
        '{"a": "\\x"}',
        '{"a": 01}',
        '{"a": "\n"}',
        '{"a": "\\"}',
        '{"a": nul}',
        "[1]",
        '{"": {}}',
        '{"a": [] ] }',
        "{,}",
    ]
)


@given(
    OBJECTS | ARGUMENTS.map(json.dumps) | st.text(alphabet='{}[]",:1 a\\', max_size=12).map("{".__add__),
    st.text(max_size=3),
)
def test_the_end_of_an_object_is_where_pythons_decoder_ends(written: str, before: str) -> None:
    decoder = json.JSONDecoder(strict=False)
    try:
        value, end = decoder.raw_decode(before + written, len(before))
    except ValueError:
        value, end = None, None
    expected = end if isinstance(value, dict) else None
    assert scan_object(before + written, len(before)).end == expected


def test_the_arguments_of_a_call_are_json_whatever_number_the_model_writes() -> None:
    assert parse_reply('f\n{"a": "x\ny", "b": 1e999}', ["f"]).tool_calls == ()
    assert parse_reply('{"name": "f", "arguments": {"b": -1e999}}', ["f"]).tool_calls == ()
    (call,) = parse_reply('f\n{"a": "x\ny", "b": 1e99}', ["f"]).tool_calls
    assert json.loads(call.arguments) == {"a": "x\ny", "b": 1e99}
