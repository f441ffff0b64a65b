"""Answers as the engine reports them, for the tests of what each API makes of them."""

from __future__ import annotations

from itertools import count

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


class CountedIds:
    """Ids that tell what they are of, and count."""

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
