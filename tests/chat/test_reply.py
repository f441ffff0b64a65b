"""Whole replies: the public function, and calls generated at random."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from glm_gguf.chat.events import ToolCall, ToolCallCut, ToolCallDelta, ToolCallStart, collect
from glm_gguf.chat.output_parser import OutputParser
from glm_gguf.chat.reply import Message, parse_reply
from glm_gguf.chat.reply_form import ReplyForm
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
def test_whatever_is_called_comes_back(
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
    assert collect(feed_in_pieces(text, ReplyForm(TOOLS, certain=certain), cuts)).tool_calls == meant


def test_arguments_stream_where_a_grammar_makes_them_certain() -> None:
    tokens = [b"get", b"\n", b'{"a', b'": 1', b"}"]
    parser = OutputParser(lambda index: tokens[index - 10], MARK_IDS, ReplyForm(TOOLS, certain=True))
    events = [list(parser.feed(10 + index)) for index in range(len(tokens))]
    assert events[:2] == [[], []]
    assert events[2] == [ToolCallStart(0, "get"), ToolCallDelta(0, '{"a')]
    assert events[3:] == [[ToolCallDelta(0, '": 1')], [ToolCallDelta(0, "}")]]


def test_without_a_grammar_a_call_comes_whole() -> None:
    tokens = [b"get", b"\n", b'{"a', b'": 1', b"}"]
    parser = OutputParser(lambda index: tokens[index - 10], MARK_IDS, ReplyForm(TOOLS))
    events = [list(parser.feed(10 + index)) for index in range(len(tokens))]
    assert events == [[], [], [], [], [ToolCallStart(0, "get"), ToolCallDelta(0, '{"a": 1}')]]


def test_a_streamed_call_that_is_cut_becomes_text() -> None:
    tokens = {10: b"get\n", 11: b'{"a": ', 12: b"1"}
    parser = OutputParser(tokens.__getitem__, MARK_IDS, ReplyForm(TOOLS, certain=True))
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


def test_hostile_replies_are_read_in_linear_time() -> None:
    for unit in ('n\n{"<|assistant|>', "get\n{", "```\n", "get\n", '{"a":', "get\n```json\n"):
        parse_reply(unit * 4000, ["get"])
