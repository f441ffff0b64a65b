"""Calls of a history and their results: each result behind its call, in the order of the calls.

The templates match the two by order alone. Histories of agents that were interrupted or shortened have calls without
results, results without calls, and results that come late; nothing of them is lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

Message = dict[str, str]
"""A template's message: role, content and, for a call, metadata."""

NOT_ANSWERED: Final = '{"error": "this call was not answered"}'
"""What the model is told of a call that has no result, where the conversation went on."""


class Result:
    """What a call returned, and the id of that call, if one was given."""

    def __init__(self, text: str, call_id: object = None) -> None:
        self.text = text
        self.id = call_id
        self.taken = False


class Call:
    """A call, its id if it has one, and its result as soon as that is found."""

    def __init__(self, call_id: object = None) -> None:
        self.id = call_id
        self.result: Result | None = None


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls that were made together, and the messages that made them, prose between them included."""

    messages: list[Message] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)


Entry = Message | Calls | Result
"""What a history consists of."""


def paired(entries: Sequence[Entry]) -> list[Message]:
    """Return a history as messages: every result stands behind its call, a result without one where it came."""
    entries = _merged(entries)
    _give(entries)
    shown = [entry for entry in entries if not (isinstance(entry, Result) and entry.taken)]
    messages: list[Message] = []
    for index, entry in enumerate(shown):
        match entry:
            case Calls():
                messages += entry.messages
                messages += _observations(entry, last=index == len(shown) - 1)
            case Result():
                messages.append(_observation(entry.text))
            case _:
                messages.append(entry)
    return messages


def _merged(entries: Sequence[Entry]) -> list[Entry]:
    """Join calls that follow each other: they were made together."""
    merged: list[Entry] = []
    for entry in entries:
        last = merged[-1] if merged else None
        if not isinstance(entry, Calls):
            merged.append(entry)
            continue
        if not isinstance(last, Calls):
            last = Calls()
            merged.append(last)
        last.messages.extend(entry.messages)
        last.calls.extend(entry.calls)
    return merged


def _give(entries: Sequence[Entry]) -> None:
    """Give results to calls: of those before it first, else to one that comes later."""
    open_calls = _OpenCalls()
    early: list[Result] = []
    for entry in entries:
        match entry:
            case Calls():
                open_calls.add(entry.calls)
            case Result():
                if not open_calls.give(entry):
                    early.append(entry)
    for result in early:
        if result.id is not None:
            open_calls.give(result)


class _OpenCalls:
    """Calls that wait for their results: by id, and the last ones in order. Each is looked at once, however many."""

    def __init__(self) -> None:
        self._named: dict[object, list[deque[Call]]] = {}
        self._last: deque[Call] = deque()
        self._nameless: deque[Call] = deque()

    def add(self, calls: Sequence[Call]) -> None:
        """Take calls that were made together."""
        self._last = deque(calls)
        self._nameless = deque(call for call in calls if call.id is None)
        together: dict[object, deque[Call]] = {}
        for call in calls:
            if call.id is not None:
                together.setdefault(call.id, deque()).append(call)
        for call_id, same in together.items():
            self._named.setdefault(call_id, []).append(same)

    def give(self, result: Result) -> bool:
        """Give a result to the call that it names, or to the next one; False where there is none for it."""
        by_id = None if result.id is None else self._by_id(result.id)
        call = by_id or _first_open(self._last if result.id is None else self._nameless)
        if call is None:
            return False
        call.result = result
        result.taken = True
        return True

    def _by_id(self, call_id: object) -> Call | None:
        """Find the call of an id, the latest; of several made together the first."""
        named = self._named.get(call_id, [])
        while named:
            call = _first_open(named[-1])
            if call is not None:
                return call
            named.pop()
        return None


def _first_open(calls: deque[Call]) -> Call | None:
    """Return the first call without a result, those before it let go."""
    while calls and calls[0].result is not None:
        calls.popleft()
    return calls[0] if calls else None


def _observations(made: Calls, *, last: bool) -> Iterator[Message]:
    """Return the results of calls; at the end of a conversation calls may wait for all of theirs."""
    if last and all(call.result is None for call in made.calls):
        return
    for call in made.calls:
        yield _observation(NOT_ANSWERED if call.result is None else call.result.text)


def _observation(text: str) -> Message:
    return {"role": "observation", "content": text}
