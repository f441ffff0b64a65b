"""Calls of a history and their results: each result behind its call, in the order of the calls.

The templates match the two by order alone. Interrupted or shortened histories have calls without results, results
without calls, and late results; all of them are kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

TemplateMessage = dict[str, str]
"""A template's message: role, content and, for a call, metadata."""

NOT_ANSWERED: Final = '{"error": "this call was not answered"}'
"""The result that the model reads if a conversation went on without one."""


class CallResult:
    """The text that a call returned, and the call's id if the message names it."""

    def __init__(self, text: str, call_id: object = None) -> None:
        self.text = text
        self.id = call_id
        self.taken = False


class PastCall:
    """A call, its id if it has one, and its result once it is found."""

    def __init__(self, call_id: object = None) -> None:
        self.id = call_id
        self.result: CallResult | None = None


@dataclass(frozen=True, slots=True)
class CallGroup:
    """Calls of one answer, and its messages: the calls, and the text between them."""

    messages: list[TemplateMessage] = field(default_factory=list)
    calls: list[PastCall] = field(default_factory=list)


Entry = TemplateMessage | CallGroup | CallResult
"""One entry of a history."""


def order_results(entries: Sequence[Entry]) -> list[TemplateMessage]:
    """Return a history as messages: each result behind its call, a result without a call at its own place."""
    entries = _merged(entries)
    _match_results(entries)
    shown = [entry for entry in entries if not (isinstance(entry, CallResult) and entry.taken)]
    messages: list[TemplateMessage] = []
    for index, entry in enumerate(shown):
        match entry:
            case CallGroup():
                messages += entry.messages
                messages += _observations(entry, last=index == len(shown) - 1)
            case CallResult():
                messages.append(_observation(entry.text))
            case _:
                messages.append(entry)
    return messages


def _merged(entries: Sequence[Entry]) -> list[Entry]:
    """Join neighbouring groups of calls into one."""
    merged: list[Entry] = []
    for entry in entries:
        last = merged[-1] if merged else None
        if not isinstance(entry, CallGroup):
            merged.append(entry)
            continue
        if not isinstance(last, CallGroup):
            last = CallGroup()
            merged.append(last)
        last.messages.extend(entry.messages)
        last.calls.extend(entry.calls)
    return merged


def _match_results(entries: Sequence[Entry]) -> None:
    """Match each result with a call before it, else, by its id, with a later one."""
    open_calls = _OpenCalls()
    early: list[CallResult] = []
    for entry in entries:
        match entry:
            case CallGroup():
                open_calls.add(entry.calls)
            case CallResult():
                if not open_calls.give(entry):
                    early.append(entry)
    for result in early:
        if result.id is not None:
            open_calls.give(result)


class _OpenCalls:
    """Calls without a result: by id, and the latest group in order. Each call is looked at once."""

    def __init__(self) -> None:
        self._named: dict[object, list[deque[PastCall]]] = {}
        self._last: deque[PastCall] = deque()
        self._nameless: deque[PastCall] = deque()

    def add(self, calls: Sequence[PastCall]) -> None:
        """Add the calls of one group."""
        self._last = deque(calls)
        self._nameless = deque(call for call in calls if call.id is None)
        together: dict[object, deque[PastCall]] = {}
        for call in calls:
            if call.id is not None:
                together.setdefault(call.id, deque()).append(call)
        for call_id, same in together.items():
            self._named.setdefault(call_id, []).append(same)

    def give(self, result: CallResult) -> bool:
        """Give a result to the call that it names, or to the next one; False if there is none."""
        by_id = None if result.id is None else self._by_id(result.id)
        call = by_id or _first_open(self._last if result.id is None else self._nameless)
        if call is None:
            return False
        call.result = result
        result.taken = True
        return True

    def _by_id(self, call_id: object) -> PastCall | None:
        """Find the call with an id in the latest group that has one; the first of several."""
        named = self._named.get(call_id, [])
        while named:
            call = _first_open(named[-1])
            if call is not None:
                return call
            named.pop()
        return None


def _first_open(calls: deque[PastCall]) -> PastCall | None:
    """Return the first call without a result, and drop the calls before it."""
    while calls and calls[0].result is not None:
        calls.popleft()
    return calls[0] if calls else None


def _observations(made: CallGroup, *, last: bool) -> Iterator[TemplateMessage]:
    """Return the results of calls; none if the conversation ends before any of them."""
    if last and all(call.result is None for call in made.calls):
        return
    for call in made.calls:
        yield _observation(NOT_ANSWERED if call.result is None else call.result.text)


def _observation(text: str) -> TemplateMessage:
    return {"role": "observation", "content": text}
