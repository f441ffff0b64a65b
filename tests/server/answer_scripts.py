"""Answers as the engine reports them, for the tests of what each API makes of them."""

from __future__ import annotations

import json
from itertools import count

from hypothesis import strategies as st

from glm_gguf.chat.events import (
    Event,
    Finish,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    ToolCallCut,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)

CUT_CALL: list[Event] = [
    ToolCallStart(0, "f"),
    ToolCallDelta(0, '{"a": 1, '),
    ToolCallDelta(0, '"b": "x'),
    ToolCallCut(0),
    TextDelta('f\n{"a": 1, "b": "x'),
]

SCRIPTS: dict[str, list[Event]] = {
    "text": [TextDelta("Hel"), TextDelta("lo"), Finish("stop", Usage(5, 2, 3))],
    "nothing": [Finish("stop", Usage(5, 0, 1))],
    "nothing before the room ends": [Finish("length", Usage(5, 0, 1))],
    "a thought and text": [ReasoningDelta("So "), ReasoningDelta("be it."), TextDelta("Yes."), Finish("stop")],
    "a thought and nothing": [ReasoningDelta("So."), Finish("stop")],
    "a thought cut": [ReasoningDelta("So "), Finish("length", Usage(5, 0, 4, 4))],
    "a thought and a call": [
        ReasoningDelta("So."),
        ToolCallStart(0, "f"),
        ToolCallDelta(0, "{}"),
        Finish("tool_calls"),
    ],
    "prose and two calls": [
        TextDelta("Let me look."),
        ToolCallStart(0, "f"),
        ToolCallDelta(0, '{"city": '),
        ToolCallDelta(0, '"北京"}'),
        ToolCallStart(1, "g"),
        ToolCallDelta(1, "{}"),
        Finish("tool_calls", Usage(9, 4, 8)),
    ],
    "a call between texts": [
        TextDelta("One."),
        ToolCallStart(0, "f"),
        ToolCallDelta(0, "{}"),
        TextDelta("Two."),
        Finish("tool_calls"),
    ],
    "a call cut": [TextDelta("Well."), *CUT_CALL, Finish("length", Usage(5, 0, 20))],
    "a call, and one cut": [
        ToolCallStart(0, "g"),
        ToolCallDelta(0, '{"n": 1}'),
        ToolCallStart(1, "f"),
        ToolCallDelta(1, "{"),
        ToolCallCut(1),
        TextDelta("f\n{"),
        Finish("length"),
    ],
    "a call cut before its brace": [ToolCallStart(0, "f"), ToolCallCut(0), TextDelta("f\n"), Finish("length")],
    "a stop text": [TextDelta("Hello "), Finish("stop", Usage(5, 0, 3), stop_text="STOP")],
    "a deadline": [TextDelta("Hello "), Finish("timeout", Usage(5, 0, 3))],
    "log probabilities": [
        TokenLogprob(b"\n", -0.5),
        TokenLogprob(b"Hel", -0.25, (TokenLogprob(b"Hel", -0.25), TokenLogprob(b"Bye", -1.5))),
        TextDelta("Hel"),
        TokenLogprob(b"lo", -1.0),
        TextDelta("lo"),
        TokenLogprob(b"<|user|>", -0.125),
        Finish("stop"),
    ],
    "broken off": [TextDelta("Hel")],
}


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    """Draw an answer of any engine: pieces of thought, text and calls in any order, the last one cut."""
    texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=5)
    values = st.dictionaries(texts, st.none() | st.integers() | texts | st.lists(texts, max_size=2), max_size=3)
    events: list[Event] = []
    calls = 0
    for kind in draw(st.lists(st.sampled_from(["thought", "text", "call"]), max_size=6)):
        if kind == "call":
            arguments = json.dumps(draw(values), ensure_ascii=draw(st.booleans()))
            cut = draw(st.integers(1, len(arguments)))
            events += [ToolCallStart(calls, draw(texts)), ToolCallDelta(calls, arguments[:cut])]
            events += [ToolCallDelta(calls, arguments[cut:])] if arguments[cut:] else []
            calls += 1
        else:
            events.append((ReasoningDelta if kind == "thought" else TextDelta)(draw(texts)))
    if draw(st.booleans()):
        arguments = json.dumps(draw(values))
        part = arguments[: draw(st.integers(0, len(arguments) - 1))]
        events += [ToolCallStart(calls, "cut"), *([ToolCallDelta(calls, part)] if part else []), ToolCallCut(calls)]
        return [*events, TextDelta(f"cut\n{part}"), Finish("length", Usage(9, 3, 7))]
    return [*events, Finish("tool_calls" if calls else draw(st.sampled_from(["stop", "length", "timeout"])))]


class CountedIds:
    """Ids with their prefix and a number."""

    def __init__(self) -> None:
        self._numbers = count()

    def __call__(self, prefix: str) -> str:
        return f"{prefix}{next(self._numbers)}"


def split(events: list[Event]) -> list[Event]:
    """Cut every delta into single characters."""
    pieces: list[Event] = []
    for event in events:
        match event:
            case TextDelta(text):
                pieces += [TextDelta(letter) for letter in text]
            case ReasoningDelta(text):
                pieces += [ReasoningDelta(letter) for letter in text]
            case ToolCallDelta(index, text):
                pieces += [ToolCallDelta(index, letter) for letter in text]
            case _:
                pieces.append(event)
    return pieces
