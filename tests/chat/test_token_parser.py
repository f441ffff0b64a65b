"""A model's output becomes the same events however it is cut into tokens."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glm_gguf.chat.events import ChatResult, FinishReason, ToolCall, collect
from glm_gguf.chat.expected_form import ExpectedForm
from glm_gguf.chat.spelled_text import parse_answer
from glm_gguf.chat.token_parser import TokenParser
from tests.chat.cutting import MARK_IDS, WHOLE, feed_in_pieces, pieces, repeat

PLAIN = ExpectedForm()
WEATHER = ExpectedForm(functions=("get_weather", "天气"))
THINKING = ExpectedForm(functions=("get_weather",), starts_in_thought=True)
RESEARCH = ExpectedForm(functions=("search", "click", "open", "finish"), json_calls=True)
BEIJING = ToolCall("get_weather", '{"city": "北京"}')
MADE_UP = ToolCall("made_up", "{}", declared=False)

CASES = {
    "an answer begins with a newline": (PLAIN, "\nIt is sunny.<|user|>", "It is sunny.", "", []),
    "an answer ends at end of text": (PLAIN, "\nDone.<|endoftext|>", "Done.", "", []),
    "an answer may lack the newline": (PLAIN, "It is sunny.", "It is sunny.", "", []),
    "the answer 2 is no call without a name": (WEATHER, "\n2<|user|>", "2", "", []),
    "inner and trailing blank space stays": (PLAIN, "\na\n\n  b \n<|user|>", "a\n\n  b \n", "", []),
    "indentation of the first line stays": (PLAIN, "\n\n    code", "    code", "", []),
    "nothing but blank space is an empty answer": (PLAIN, "\n \n<|user|>", "", "", []),
    "one call": (WEATHER, 'get_weather\n{"city": "北京"}<|observation|>', "", "", [BEIJING]),
    "a space before the newline": (WEATHER, 'get_weather \n{"city": "北京"}<|observation|>', "", "", [BEIJING]),
    "a leading newline": (WEATHER, '\nget_weather\n{"city": "北京"}<|observation|>', "", "", [BEIJING]),
    "carriage returns": (WEATHER, 'get_weather\r\n{"city": "北京"}\r\n<|observation|>', "", "", [BEIJING]),
    "a name that is no ASCII": (WEATHER, "天气\n{}<|observation|>", "", "", [ToolCall("天气", "{}")]),
    "an undeclared name at the start": (PLAIN, "made_up\n{}<|observation|>", "", "", [MADE_UP]),
    "an undeclared name that waits for its result": (
        WEATHER,
        "\nmade_up\n{}<|observation|>",
        "",
        "",
        [MADE_UP],
    ),
    "an undeclared name in an answer": (WEATHER, "\nmade_up\n{}<|user|>", "made_up\n{}", "", []),
    "several calls": (
        WEATHER,
        'get_weather\n{"city": "北京"}<|assistant|>other\n{"a": [1, {"b": 2}]}<|observation|>',
        "",
        "",
        [BEIJING, ToolCall("other", '{"a": [1, {"b": 2}]}', declared=False)],
    ),
    "two calls whose separator was dropped": (
        WEATHER,
        'get_weather\n{"city": "北京"}get_weather\n{"city": "北京"}<|observation|>',
        "",
        "",
        [BEIJING, BEIJING],
    ),
    "prose, then a call": (
        WEATHER,
        '\nLet me look.\n<|assistant|>get_weather\n{"city": "北京"}<|observation|>',
        "Let me look.",
        "",
        [BEIJING],
    ),
    "prose, then a call without the token between": (
        WEATHER,
        '\nLet me look.\n\nget_weather\n{"city": "北京"}<|observation|>',
        "Let me look.",
        "",
        [BEIJING],
    ),
    "two parts of prose are two lines": (PLAIN, "\nOne.<|assistant|>\nTwo.<|user|>", "One.\nTwo.", "", []),
    "an object pretty-printed": (
        WEATHER,
        'get_weather\n{\n  "at": {\n    "city": "A"\n  }\n}\n<|observation|>',
        "",
        "",
        [ToolCall("get_weather", '{\n  "at": {\n    "city": "A"\n  }\n}')],
    ),
    "braces and escapes inside strings": (
        WEATHER,
        r'get_weather' + '\n' + r'{"city": "}{\"]\\"}<|observation|>',
        "",
        "",
        [ToolCall("get_weather", r'{"city": "}{\"]\\"}')],
    ),
    "a raw line break inside a string is escaped": (
        WEATHER,
        'get_weather\n{"city": "A\nB"}<|observation|>',
        "",
        "",
        [ToolCall("get_weather", '{"city": "A\\nB"}')],
    ),
    "a truncated call stays text": (WEATHER, 'get_weather\n{"city": "北', 'get_weather\n{"city": "北', "", []),
    "a name alone stays text": (WEATHER, "get_weather", "get_weather", "", []),
    "a name and its newline stay text": (WEATHER, "get_weather\n", "get_weather\n", "", []),
    "an invalid object stays text": (
        WEATHER,
        'get_weather\n{"city": 北京}<|observation|>',
        'get_weather\n{"city": 北京}',
        "",
        [],
    ),
    "a number that JSON does not know": (WEATHER, 'get_weather\n{"a": NaN}', 'get_weather\n{"a": NaN}', "", []),
    "arguments in an array are no call": (WEATHER, "get_weather\n[1]<|user|>", "get_weather\n[1]", "", []),
    "a label before an object": (WEATHER, '\nResult:\n{"a": 1}<|user|>', 'Result:\n{"a": 1}', "", []),
    "a label that starts the output": (WEATHER, 'Result:\n{"a": 1}<|user|>', 'Result:\n{"a": 1}', "", []),
    "a word before an object": (WEATHER, '\nOutput\n{"a": 1}\nDone.', 'Output\n{"a": 1}\nDone.', "", []),
    "a fence of json": (WEATHER, '\n```json\n{"a": 1}\n```', '```json\n{"a": 1}\n```', "", []),
    "code with braces": (WEATHER, "\nelse\n{ x(); }\n", "else\n{ x(); }\n", "", []),
    "a declared name inside a sentence": (WEATHER, "\nI use get_weather\n{}", "I use get_weather\n{}", "", []),
    "a call behind an invalid one": (
        WEATHER,
        '\nmade_up\n{"a": b}\nget_weather\n{"city": "北京"}<|observation|>',
        'made_up\n{"a": b}',
        "",
        [BEIJING],
    ),
    "a thought is open from the start": (THINKING, "\nHm.\n\nSo.\n</think>\n\nYes.", "Yes.", "Hm.\n\nSo.", []),
    "a thought, then a call": (
        THINKING,
        '\nHm.\n</think>\nget_weather\n{"city": "北京"}<|observation|>',
        "",
        "Hm.",
        [BEIJING],
    ),
    "a thought cut off": (THINKING, "\nHm </thi", "", "Hm </thi", []),
    "a thought without words": (THINKING, "\n\n</think>\nYes.", "Yes.", "", []),
    "a call inside a thought is thought about": (THINKING, 'get_weather\n{}</think>No.', "No.", "get_weather\n{}", []),
    "a thought that the model opens": (PLAIN, "\n<think>\nHm.</think>Yes.", "Yes.", "Hm.", []),
    "a tag inside the answer is text": (PLAIN, "\nThe tag <think> opens.", "The tag <think> opens.", "", []),
    "an answer that begins like a tag": (PLAIN, "\n<thin", "<thin", "", []),
    "Rumination's call": (
        RESEARCH,
        '\n<think>\nplan\n</think>\n{"name": "search", "arguments": {"query": "x"}}<|observation|>',
        "",
        "plan",
        [ToolCall("search", '{"query": "x"}')],
    ),
    "an object that is no call of Rumination": (RESEARCH, '\n{"name": "x"}<|user|>', '{"name": "x"}', "", []),
    "a call of Rumination's form elsewhere": (
        WEATHER,
        '\n{"name": "get_weather", "arguments": {}}<|user|>',
        '{"name": "get_weather", "arguments": {}}',
        "",
        [],
    ),
}  # fmt: skip

CUTS = {"by byte": 1, "by two bytes": 2, "by three": 3, "by seven": 7, "whole": WHOLE}


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS.keys())
@pytest.mark.parametrize(("form", "text", "content", "reasoning", "calls"), CASES.values(), ids=CASES.keys())
def test_an_output_is_read_as_meant(
    form: ExpectedForm, text: str, content: str, reasoning: str, calls: list[ToolCall], cut: int
) -> None:
    result = collect(feed_in_pieces(text, form, repeat(cut)))
    reason: FinishReason = "tool_calls" if calls else "stop"
    assert result == ChatResult(content, reasoning, tuple(calls), reason)


@pytest.mark.parametrize(("form", "text"), [case[:2] for case in CASES.values()], ids=CASES.keys())
def test_a_text_with_spelled_tokens_reads_like_its_ids(form: ExpectedForm, text: str) -> None:
    assert parse_answer(text, form) == collect(feed_in_pieces(text, form, repeat(1)))


ALPHABET = [
    "get_weather",
    "foo",
    "\n",
    "{",
    "}",
    '{"a": 1}',
    '"',
    "'",
    "\\",
    " ",
    "北",
    "<think>",
    "</think>",
    "x:",
    "\r",
]
ALPHABET += ["<|assistant|>", "<|observation|>", "<|user|>", '{"name": "search", "arguments": {}}', "search"]
FORMS = st.sampled_from([PLAIN, WEATHER, THINKING, RESEARCH])


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(ALPHABET), max_size=14).map("".join), FORMS, st.lists(st.integers(1, 9), min_size=1))
def test_events_do_not_depend_on_where_the_output_is_cut(text: str, form: ExpectedForm, lengths: list[int]) -> None:
    def cycle() -> Iterator[int]:
        while True:
            yield from lengths

    assert feed_in_pieces(text, form, cycle()) == feed_in_pieces(text, form, repeat(WHOLE))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(ALPHABET), max_size=14).map("".join),
    st.sampled_from([PLAIN, WEATHER, THINKING]),
)
def test_no_character_is_lost_or_invented(text: str, form: ExpectedForm) -> None:
    result = parse_answer(text, form)
    shown = result.content + result.reasoning + "".join(call.name + call.arguments for call in result.tool_calls)
    missing = [letter for piece in pieces(text, form) if isinstance(piece, str) for letter in piece if letter.strip()]
    for letter in filter(str.strip, shown):
        missing.remove(letter)
    assert not set(missing) - set("</think>")


def test_a_long_object_in_tokens_of_one_letter_is_read_in_linear_time() -> None:
    text = 'get_weather\n{"text": "' + "word " * 8000 + '"}'
    result = collect(feed_in_pieces(text, WEATHER, repeat(4)))
    assert result.tool_calls[0].arguments == text.partition("\n")[2]


def test_prose_streams_as_it_comes() -> None:
    parser = TokenParser({5: b"\n", 6: b"It", 7: b" is", 8: b" sunny"}.__getitem__, MARK_IDS, WEATHER)
    seen = ["".join(getattr(event, "text", "") for event in parser.feed(token_id)) for token_id in (5, 6, 7, 8)]
    assert seen == ["", "", "It is", " sunny"]
