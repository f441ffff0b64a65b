"""Which cells of the KV cache the sequences share: each span of cells is counted once, however many own it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Final

_NO_CELL: Final = -2


class Span:
    """Successive cells with the same owners, after those of `parent`."""

    __slots__ = ("last", "length", "owners", "parent", "pinned", "runs")

    def __init__(self, parent: Span | None, owners: int, pinned: int) -> None:
        self.parent = parent
        self.owners = owners
        """Sequences that hold these cells."""
        self.pinned = pinned
        """Pinned sequences among them."""
        self.length = 0
        self.runs: list[int] = []  # lengths of pieces whose cells were filled one after the other
        self.last = _NO_CELL

    def grow(self, first: int, length: int) -> None:
        """Add cells that were filled from number `first` on."""
        if self.last + 1 == first and self.runs:
            self.runs[-1] += length
        else:
            self.runs.append(length)
        self.length += length
        self.last = first + length - 1


class CellSpans:
    """Counts of cells. Its last span stands for a sequence and leads to those before; None stands for an empty one."""

    def __init__(self) -> None:
        self.used = 0
        """Cells that hold a token."""
        self.pinned = 0
        """Cells of pinned sequences."""
        self._filled = 0  # cells have numbers of our own: llama.cpp does not say where they lie

    def append(self, last: Span | None, length: int) -> Span | None:
        """Append filled cells to a pinned sequence; returns its new last span."""
        if not length:
            return last
        if last is None or last.owners > 1:
            last = Span(last, owners=1, pinned=1)
        last.grow(self._filled, length)
        self._filled += length
        self.used += length
        self.pinned += length
        return last

    def share(self, last: Span | None, held: int, length: int) -> Span | None:
        """Let a new pinned sequence own the first `length` of a sequence's `held` cells; returns its last span."""
        shared = self._split(last, held, length)
        for span in _path(shared):
            self._own(span, 1)
            self._pin(span, 1)
        return shared

    def truncate(self, last: Span | None, held: int, length: int, *, pinned: bool) -> Span | None:
        """Shorten a sequence to its first `length` cells; returns its new last span."""
        kept = self._split(last, held, length)
        span = last
        while span is not None and span is not kept:
            if pinned:
                self._pin(span, -1)
            self._own(span, -1)
            span = span.parent
        return kept

    def pin(self, last: Span | None) -> None:
        """Note that a sequence is pinned now."""
        for span in _path(last):
            self._pin(span, 1)

    def unpin(self, last: Span | None) -> None:
        """Note that a sequence is pinned no longer."""
        for span in _path(last):
            self._pin(span, -1)

    def exclusive(self, last: Span | None) -> tuple[int, int]:
        """Count the last cells of a sequence that no other owns, and the pieces in which they were filled."""
        cells = pieces = 0
        for span in _path(last):
            if span.owners > 1:
                break
            cells += span.length
            pieces += len(span.runs)
        return cells, pieces

    def _split(self, last: Span | None, held: int, length: int) -> Span | None:
        """Return the span that ends at `length`; where none does, split one."""
        end = held
        for span in _path(last):
            if end <= length:
                return span
            start = end - span.length
            if start < length:
                return _head(span, length - start)
            end = start
        return None

    def _own(self, span: Span, change: int) -> None:
        before = span.owners
        span.owners += change
        self.used += span.length * ((span.owners > 0) - (before > 0))

    def _pin(self, span: Span, change: int) -> None:
        before = span.pinned
        span.pinned += change
        self.pinned += span.length * ((span.pinned > 0) - (before > 0))


def _path(last: Span | None) -> Iterator[Span]:
    """Yield the spans of a sequence from its end to its beginning."""
    while last is not None:
        yield last
        last = last.parent


def _head(span: Span, length: int) -> Span:
    """Split a span; returns its first `length` cells, now the parent of the rest."""
    head = Span(span.parent, span.owners, span.pinned)
    ends = list(accumulate(span.runs))
    whole = sum(end <= length for end in ends)
    before = ends[whole - 1] if whole else 0
    head.runs = span.runs[:whole] + ([length - before] if before < length else [])
    span.runs = [ends[whole] - length, *span.runs[whole + 1 :]]
    head.length = length
    span.length -= length
    span.parent = head
    return head
