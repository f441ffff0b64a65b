"""Outputs of models and their meaning: a name, the text, the visible answer, the calls."""

from __future__ import annotations

from dataclasses import dataclass

from glm_gguf.chat.events import ToolCall
from glm_gguf.chat.expected_form import ExpectedForm

TOOLS = ("get_weather", "get", "天气", "db.query", "search-web", "my tool", "noop")
CHAT = ExpectedForm(TOOLS)
LENIENT = ExpectedForm(TOOLS, lenient=True)
Z1 = ExpectedForm(TOOLS, starts_in_thought=True)
RESEARCH = ExpectedForm(("search", "click", "open", "finish"), json_calls=True)

END = "<|observation|>"
NEXT = "<|assistant|>"
CITY = '{"city": "北京"}'
CALL = f"get_weather\n{CITY}"
DEEP = '{"a": {"b": {"c": [{"d": [[], {}]}]}}}'
PRETTY = '{\n  "at": {\n    "city": "A"\n  },\n  "days": [\n    1,\n    2\n  ]\n}'


@dataclass(frozen=True)
class Case:
    """One output; `calls` are names and arguments, of declared functions unless marked."""

    text: str
    content: str = ""
    calls: tuple[ToolCall, ...] = ()
    form: ExpectedForm = CHAT
    reasoning: str = ""


def call(arguments: str = CITY, name: str = "get_weather", **flags: bool) -> ToolCall:
    return ToolCall(name, arguments, **flags)


def undeclared(name: str, arguments: str = "{}") -> ToolCall:
    return ToolCall(name, arguments, declared=False)


def same(text: str, form: ExpectedForm = CHAT, content: str | None = None) -> Case:
    """An output that is all text, except for its first newline."""
    return Case(text, text.removeprefix("\n") if content is None else content, form=form)


ONE = (call(),)
TWO = (call(), call())

ENDS = {
    "observation token": Case(CALL + END, calls=ONE),
    "no end at all": Case(CALL, calls=ONE),
    "user token": Case(CALL + "<|user|>", calls=ONE),
    "end of text": Case(CALL + "<|endoftext|>", calls=ONE),
    "newline, then observation": Case(f"{CALL}\n{END}", calls=ONE),
    "blank space, then observation": Case(f"{CALL} \t\n\n{END}", calls=ONE),
    "an assistant token and nothing": Case(CALL + NEXT, calls=ONE),
    "an assistant token in front": Case(NEXT + CALL + END, calls=ONE),
}
BLANKS = {
    "a leading newline": Case(f"\n{CALL}{END}", calls=ONE),
    "leading newlines": Case(f"\n\n\n{CALL}{END}", calls=ONE),
    "a leading space": Case(f" {CALL}{END}", calls=ONE),
    "a space before the line break": Case(f"get_weather \n{CITY}{END}", calls=ONE),
    "a tab before the line break": Case(f"get_weather\t\n{CITY}{END}", calls=ONE),
    "an empty line before the brace": Case(f"get_weather\n\n{CITY}{END}", calls=ONE),
    "spaces before the brace": Case(f"get_weather\n   {CITY}{END}", calls=ONE),
    "CRLF": Case(f"get_weather\r\n{CITY}\r\n{END}", calls=ONE),
    "CRLF everywhere": Case(
        f'\r\nget_weather\r\n{{\r\n"city": "A"\r\n}}\r\n{END}', "", (call('{\r\n"city": "A"\r\n}'),)
    ),
}
OBJECTS = {
    "an empty object": Case(f"noop\n{{}}{END}", calls=(call("{}", "noop"),)),
    "an empty object with a space": Case(f"noop\n{{ }}{END}", calls=(call("{ }", "noop"),)),
    "pretty-printed": Case(f"get_weather\n{PRETTY}{END}", calls=(call(PRETTY),)),
    "an inner brace ends a line": Case(
        'get\n{"a": {"b": 1}\n, "c": 2}' + END, calls=(call('{"a": {"b": 1}\n, "c": 2}', "get"),)
    ),
    "deep": Case(f"get\n{DEEP}{END}", calls=(call(DEEP, "get"),)),
    "braces in a string": Case('get\n{"a": "}{]["}' + END, calls=(call('{"a": "}{]["}', "get"),)),
    "an escaped quote": Case(r"get" + "\n" + r'{"a": "\"}"}' + END, calls=(call(r'{"a": "\"}"}', "get"),)),
    "a backslash at the end": Case('get\n{"a": "\\\\"}' + END, calls=(call('{"a": "\\\\"}', "get"),)),
    "a unicode escape": Case('get\n{"a": "\\u4eac"}' + END, calls=(call('{"a": "\\u4eac"}', "get"),)),
    "an emoji": Case('get\n{"a": "🙂"}' + END, calls=(call('{"a": "🙂"}', "get"),)),
    "an apostrophe in a string": Case('get\n{"a": "it\'s"}' + END, calls=(call('{"a": "it\'s"}', "get"),)),
    "a raw line break in a string": Case('get\n{"a": "b\nc"}' + END, calls=(call('{"a": "b\\nc"}', "get"),)),
    "a raw tab in a string": Case('get\n{"a": "b\tc"}' + END, calls=(call('{"a": "b\\tc"}', "get"),)),
    "the assistant token in a string": Case(
        'get\n{"a": "<|assistant|>"}' + END, calls=(call('{"a": "<|assistant|>"}', "get"),)
    ),
    "the observation token in a string": Case(
        'get\n{"a": "x<|observation|>y"}' + END, calls=(call('{"a": "x<|observation|>y"}', "get"),)
    ),
    "the user token in a key": Case('get\n{"<|user|>": 1}' + END, calls=(call('{"<|user|>": 1}', "get"),)),
    "three role tokens in a string": Case(
        'get\n{"a": "<|user|><|assistant|>\\n<|endoftext|>"}' + END,
        calls=(call('{"a": "<|user|><|assistant|>\\n<|endoftext|>"}', "get"),),
    ),
    "a call in a string": Case(
        'get\n{"a": "get_weather\\n{}"}' + END, calls=(call('{"a": "get_weather\\n{}"}', "get"),)
    ),
    "a fence in a string": Case('get\n{"a": "```\\n```"}' + END, calls=(call('{"a": "```\\n```"}', "get"),)),
    "a thought tag in a string": Case('get\n{"a": "</think>"}' + END, calls=(call('{"a": "</think>"}', "get"),)),
    "numbers": Case(
        'get\n{"a": [0, -1, 1.5e-3, true, false, null]}' + END,
        calls=(call('{"a": [0, -1, 1.5e-3, true, false, null]}', "get"),),
    ),
    "a large number": Case(
        'get\n{"a": 123456789012345678901234567890}' + END,
        calls=(call('{"a": 123456789012345678901234567890}', "get"),),
    ),
    "a doubled key": Case('get\n{"a": 1, "a": 2}' + END, calls=(call('{"a": 1, "a": 2}', "get"),)),
    "no blanks": Case('get\n{"a":1,"b":[1,2]}' + END, calls=(call('{"a":1,"b":[1,2]}', "get"),)),
    "an empty key": Case('get\n{"": 1}' + END, calls=(call('{"": 1}', "get"),)),
}
NAMES = {
    "a Chinese name": Case(f"天气\n{{}}{END}", calls=(call("{}", "天气"),)),
    "a dot": Case(f"db.query\n{{}}{END}", calls=(call("{}", "db.query"),)),
    "a hyphen": Case(f"search-web\n{{}}{END}", calls=(call("{}", "search-web"),)),
    "a space inside": Case(f"my tool\n{{}}{END}", calls=(call("{}", "my tool"),)),
    "a name that begins another": Case(f"get\n{{}}{END}", calls=(call("{}", "get"),)),
    "undeclared at the start": Case(f"other\n{{}}{END}", calls=(undeclared("other"),)),
    "undeclared with dots": Case(f"a.b.c\n{{}}{END}", calls=(undeclared("a.b.c"),)),
    "undeclared at the start without an end": Case("other\n{}", calls=(undeclared("other"),)),
    "undeclared behind a token": Case(f"{CALL}{NEXT}other\n{{}}{END}", calls=(call(), undeclared("other"))),
    "undeclared behind prose and a token": Case(f"\nHm.{NEXT}other\n{{}}{END}", "Hm.", (undeclared("other"),)),
    "undeclared behind a newline, then observation": Case(f"\nother\n{{}}{END}", calls=(undeclared("other"),)),
    "undeclared in an answer": Case("\nother\n{}<|user|>", "other\n{}"),
    "undeclared inside prose": Case("\nSee\nother\n{}\nthere<|user|>", "See\nother\n{}\nthere"),
    "a name of two undeclared words": Case("two words\n{}<|user|>", "two words\n{}"),
    "a name too long": Case("a" * 65 + "\n{}", "a" * 65 + "\n{}"),
    "a number as a name": Case("\n2\n{}<|user|>", "2\n{}"),
    "a name with a colon": Case(f"get_weather:\n{CITY}<|user|>", f"get_weather:\n{CITY}"),
    "a declared name with other case": Case(f"Get_Weather\n{{}}{END}", calls=(undeclared("Get_Weather"),)),
}
SEVERAL = {
    "two": Case(f"{CALL}{NEXT}{CALL}{END}", calls=TWO),
    "two, the token with a newline": Case(f"{CALL}{NEXT}\n{CALL}{END}", calls=TWO),
    "two, newlines around the token": Case(f"{CALL}\n{NEXT}\n{CALL}\n{END}", calls=TWO),
    "two without the token": Case(f"{CALL}{CALL}{END}", calls=TWO),
    "two, a newline for the token": Case(f"{CALL}\n{CALL}{END}", calls=TWO),
    "two, an empty line for the token": Case(f"{CALL}\n\n{CALL}{END}", calls=TWO),
    "three": Case(f"{CALL}{NEXT}noop\n{{}}{NEXT}{CALL}{END}", calls=(call(), call("{}", "noop"), call())),
    "two tokens between": Case(f"{CALL}{NEXT}{NEXT}{CALL}{END}", calls=TWO),
    "an undeclared one without the token": Case(f"{CALL}\nother\n{{}}{END}", calls=(call(), undeclared("other"))),
    "pretty-printed without the token": Case(f"get\n{PRETTY}\nget\n{PRETTY}\n{END}", calls=(call(PRETTY, "get"),) * 2),
    "the second is cut": Case(f'{CALL}{NEXT}get\n{{"a": 1', 'get\n{"a": 1', ONE),
    "the second is invalid": Case(f"{CALL}{NEXT}get\n{{'a': 1}}{END}", "get\n{'a': 1}", ONE),
    "the first is invalid": Case(f'get\n{{"a": x}}{NEXT}{CALL}{END}', 'get\n{"a": x}', ONE),
}
PROSE = {
    "an answer": Case("\nIt is sunny.<|user|>", "It is sunny."),
    "an answer without the newline": Case("It is sunny.<|user|>", "It is sunny."),
    "the answer 2": Case("\n2<|user|>", "2"),
    "a word": Case("\nYes<|user|>", "Yes"),
    "a declared name alone": Case("\nget_weather<|user|>", "get_weather"),
    "a declared name in a sentence": same("\nI use get_weather\nfor that."),
    "a declared name before a sentence": same("\nget_weather\nis a function."),
    "nothing": Case("", ""),
    "newlines": Case("\n\n", ""),
    "prose, then a call": Case(f"\nLet me look.{NEXT}{CALL}{END}", "Let me look.", ONE),
    "prose and a newline, then a call": Case(f"\nLet me look.\n{NEXT}{CALL}{END}", "Let me look.", ONE),
    "prose, then a call on the next line": Case(f"\nLet me look.\n{CALL}{END}", "Let me look.", ONE),
    "prose without a newline, then a call": Case(f"Let me look.{NEXT}{CALL}{END}", "Let me look.", ONE),
    "two lines of prose, then two calls": Case(f"\nA.\nB.{NEXT}{CALL}{NEXT}{CALL}{END}", "A.\nB.", TWO),
    "a call, then prose": Case(f"{CALL}{NEXT}\nDone.<|user|>", "Done.", ONE),
    "a call, then prose at once": Case(f"{CALL}\nDone.<|user|>", "Done.", ONE),
    "prose on both sides": Case(f"\nA.{NEXT}{CALL}{NEXT}\nB.<|user|>", "A.\nB.", ONE),
    "what follows the end is not the model's": Case(f'{CALL}{END}\n{{"weather": "晴"}}{NEXT}\nSunny.', calls=ONE),
    "what follows an answer's end": Case("\nSunny.<|user|>\nThanks<|assistant|>\nBye", "Sunny."),
    "a table": same("\n| a | b |\n|---|---|\n| 1 | 2 |"),
    "Chinese": same("\n今天天气晴。\n天气\n很好。"),
}
ANSWERS_WITH_JSON = {
    "a label": same(f"\nResult:\n{CITY}"),
    "a label without the newline": same(f"Result:\n{CITY}"),
    "a Chinese label": same(f"\n结果：\n{CITY}"),
    "a word for a label": Case(f"\nOutput\n{CITY}<|user|>", f"Output\n{CITY}"),
    "a json fence": same(f"\n```json\n{CITY}\n```"),
    "a json fence behind prose": same(f"\nHere it is:\n```json\n{CITY}\n```\nFine."),
    "a fence without a name": same(f"\n```\n{CITY}\n```"),
    "a fence of Python": same("\n```python\nx = {}\n```"),
    "a fence of code that calls": same('\n```python\nget_weather("A")\n```'),
    "a fence with an undeclared name": same("\n```\nother\n{}\n```\nDone."),
    "an object alone": same(f"\n{CITY}"),
    "an object in the form of Rumination": Case(
        '\n{"name": "get", "arguments": {}}<|user|>', '{"name": "get", "arguments": {}}'
    ),
    "C code": same("\nint main()\n{\n  return 0;\n}\n"),
    "CSS": same("\nbody\n{ color: red; }"),
    "a list of objects": same('\n[{"a": 1}]'),
    "a heading": same(f"\n## Result\n{CITY}"),
}
FENCES = {
    "a call in a fence": Case(f"```\n{CALL}\n```{END}", calls=ONE),
    "behind a newline": Case(f"\n```\n{CALL}\n```{END}", calls=ONE),
    "a fence of json": Case(f"```json\n{CALL}\n```{END}", calls=ONE),
    "the name in the fence line": Case(f"```get_weather\n{CITY}\n```{END}", calls=ONE),
    "the name before the fence": Case(f"get_weather\n```json\n{CITY}\n```{END}", calls=ONE),
    "prose, then a fence": Case(f"\nLook:\n```\n{CALL}\n```{END}", "Look:", ONE),
    "the fence is not closed": Case(f"```\n{CALL}{END}", calls=ONE),
    "prose behind the fence": Case(f"```\n{CALL}\n```\nDone.<|user|>", "Done.", ONE),
    "prose in the fence": Case(f"```\n{CALL}\nDone.<|user|>", "Done.", ONE),
    "two fences": Case(f"```\n{CALL}\n```\n```\n{CALL}\n```{END}", calls=TWO),
    "two calls in one fence": Case(f"```\n{CALL}\n{CALL}\n```{END}", calls=TWO),
    "three calls in one fence, then prose": Case(f"```\n{CALL}\n{CALL}\n{CALL}\n```\nOk.", "Ok.", (*TWO, call())),
    "a fence with CRLF": Case(f"```\r\nget_weather\r\n{CITY}\r\n```\r\n{END}", calls=ONE),
    "a cut call in a fence": same('```\nget_weather\n{"city'),
    "a fence cut": same("\n``"),
    "an undeclared call in a fence": Case(f"```\nother\n{{}}\n```{END}", calls=(undeclared("other"),)),
    "an undeclared call in a fence of an answer": same("\n```\nother\n{}\n```"),
    "a language is no name": Case(f"```json\n{CITY}\n```{END}", f"```json\n{CITY}\n```"),
    "inline code": same("\n`get_weather` is a function"),
}
BROKEN = {
    "cut in the name": same("get_wea"),
    "cut behind the name": same("get_weather"),
    "cut behind the line": same("get_weather\n"),
    "cut behind the brace": same("get_weather\n{"),
    "cut in a key": same('get_weather\n{"ci'),
    "cut in a string": same('get_weather\n{"city": "北'),
    "cut in a number": same('get_weather\n{"days": 1'),
    "cut before the last brace": same('get_weather\n{"a": {"b": 1}'),
    "cut, then observation": Case('get_weather\n{"city": "北' + END, 'get_weather\n{"city": "北'),
    "cut, then a second call": Case(f'get\n{{"a": 1{NEXT}{CALL}{END}', 'get\n{"a": 1', ONE),
    "an array": same('get_weather\n["北京"]'),
    "an array of objects": same(f"get_weather\n[{CITY}]"),
    "a string": same('get_weather\n"北京"'),
    "single quotes": same("get_weather\n{'city': 'A'}"),
    "True": same('get_weather\n{"now": True}'),
    "NaN": same('get_weather\n{"a": NaN}'),
    "Infinity": same('get_weather\n{"a": -Infinity}'),
    "a comma too much": same('get_weather\n{"a": 1,}'),
    "no comma": same('get_weather\n{"a": 1 "b": 2}'),
    "a key without quotes": same("get_weather\n{city: 1}"),
    "a comment": same('get_weather\n{"a": 1 /* b */}'),
    "a wrong closing bracket": same('get_weather\n{"a": 1]'),
    "an invalid escape": same('get_weather\n{"a": "\\x"}'),
    "an invalid call, then a good one": Case(f'get\n{{"a": b}}\n{CALL}{END}', 'get\n{"a": b}', ONE),
}
LITERALS = {
    "single quotes": Case("get\n{'a': 'b'}" + END, calls=(call('{"a": "b"}', "get", repaired=True),), form=LENIENT),
    "Python constants": Case(
        "get\n{'a': [True, False, None]}",
        calls=(call('{"a": [true, false, null]}', "get", repaired=True),),
        form=LENIENT,
    ),
    "a tuple": Case("get\n{'a': (1, 2)}", calls=(call('{"a": [1, 2]}', "get", repaired=True),), form=LENIENT),
    "a comma too much": Case('get\n{"a": 1,}', calls=(call('{"a": 1}', "get", repaired=True),), form=LENIENT),
    "quotes in quotes": Case(
        "get\n{'a': \"it's\"}", calls=(call('{"a": "it\'s"}', "get", repaired=True),), form=LENIENT
    ),
    "braces in single quotes": Case("get\n{'a': '}'}", calls=(call('{"a": "}"}', "get", repaired=True),), form=LENIENT),
    "JSON stays JSON": Case(CALL + END, calls=ONE, form=LENIENT),
    "an expression is none": same("get\n{'a': 1 + x}", LENIENT),
    "a call is none": same("get\n{'a': print(1)}", LENIENT),
    "a set is none": same("get\n{'a', 'b'}", LENIENT),
    "bytes are none": same("get\n{'a': b'x'}", LENIENT),
    "a number for a key is none": same("get\n{1: 2, 'a': 3}", LENIENT),
    "cut stays text": same("get\n{'a': 'b", LENIENT),
}
THOUGHTS = {
    "a thought and an answer": Case("\nHm.\n</think>\nYes.<|user|>", "Yes.", form=Z1, reasoning="Hm."),
    "a thought and a call": Case(f"\nHm.\n</think>\n{CALL}{END}", "", ONE, Z1, "Hm."),
    "a thought and two calls": Case(f"Hm.</think>{CALL}{NEXT}{CALL}{END}", "", TWO, Z1, "Hm."),
    "a thought, prose, a call": Case(f"Hm.</think>\nOk.{NEXT}{CALL}{END}", "Ok.", ONE, Z1, "Hm."),
    "a call in the thought": Case(f"I call {CALL} now</think>\nYes.", "Yes.", form=Z1, reasoning=f"I call {CALL} now"),
    "a thought that is cut": Case("\nHm, I", "", form=Z1, reasoning="Hm, I"),
    "a tag that is none": Case("a </thin b</think>c", "c", form=Z1, reasoning="a </thin b"),
    "a thought the model opens": Case(f"\n<think>Hm.</think>\n{CALL}{END}", "", ONE, CHAT, "Hm."),
    "an empty thought": Case(f"</think>{CALL}", "", ONE, Z1),
}
QUERY = '{"name": "search", "arguments": {"query": "x"}}'
LOOK = '{"name": "look", "arguments": {}}'
PRETTY_CLICK = '{\n  "name": "click",\n  "arguments": {\n    "link_id": 3\n  }\n}'
SEARCH = (call('{"query": "x"}', "search"),)
RUMINATION = {
    "a call": Case(QUERY + END, "", SEARCH, RESEARCH),
    "behind a thought": Case(f"<think>\nHm.\n</think>\n{QUERY}{END}", "", SEARCH, RESEARCH, "Hm."),
    "finish": Case(f'{{"name": "finish", "arguments": {{}}}}{END}', "", (call("{}", "finish"),), RESEARCH),
    "pretty-printed": Case(f"{PRETTY_CLICK}{END}", "", (call('{"link_id": 3}', "click"),), RESEARCH),
    "in a fence": Case(f"```json\n{QUERY}\n```{END}", "", SEARCH, RESEARCH),
    "arguments first": Case('{"arguments": {"query": "x"}, "name": "search"}' + END, "", SEARCH, RESEARCH),
    "a role token in the query": Case(
        QUERY.replace("x", "<|user|>") + END, "", (call('{"query": "<|user|>"}', "search"),), RESEARCH
    ),
    "undeclared, then observation": Case(f"{LOOK}{END}", "", (undeclared("look"),), RESEARCH),
    "undeclared in an answer": same(LOOK, RESEARCH),
    "arguments in a string": same('{"name": "search", "arguments": "x"}', RESEARCH),
    "another field": same('{"name": "search", "arguments": {}, "id": 1}', RESEARCH),
    "an object that is an answer": same('{"title": "x"}', RESEARCH),
    "cut": same('{"name": "search", "argu', RESEARCH),
    "the report": Case("\n# Report\n\nText【1†source】.<|user|>", "# Report\n\nText【1†source】.", form=RESEARCH),
}  # fmt: skip

GROUPS = {
    "ends": ENDS, "blanks": BLANKS, "objects": OBJECTS, "names": NAMES, "several": SEVERAL, "prose": PROSE,
    "answers with JSON": ANSWERS_WITH_JSON, "fences": FENCES, "broken": BROKEN, "literals": LITERALS,
    "thoughts": THOUGHTS, "Rumination": RUMINATION,
}  # fmt: skip
CASES = {f"{group}: {name}": case for group, cases in GROUPS.items() for name, case in cases.items()}
