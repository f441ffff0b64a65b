"""Which cells of the KV cache the sequences share: spans of cells, counted once however many hold them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Final

_NO_CELL: Final = -2


class Span:
    """Cells in a row that the same sequences hold, behind those of `parent`."""

    __slots__ = ("last", "length", "owners", "parent", "pinned", "runs")

    def __init__(self, parent: Span | None, owners: int, pinned: int) -> None:
        self.parent = parent
        self.owners = owners
        """Sequences that hold them."""
        self.pinned = pinned
        """Running answers among those."""
        self.length = 0
        self.runs: list[int] = []  # lengths of pieces whose cells were filled one behind the other
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
    """Counts of cells; a sequence is named by its last span, which leads to those before, None where it is empty."""

    def __init__(self) -> None:
        self.used = 0
        """Cells that hold something."""
        self.pinned = 0
        """Cells that running answers hold."""
        self._filled = 0  # cells are told apart by numbers of our own; llama.cpp does not say where they lie

    def append(self, last: Span | None, length: int) -> Span | None:
        """Fill cells behind a running answer's; returns its last span then."""
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
        """Let a running answer have the first `length` of the `held` cells of a sequence; returns its last span."""
        shared = self._split(last, held, length)
        for span in _path(shared):
            self._own(span, 1)
            self._pin(span, 1)
        return shared

    def truncate(self, last: Span | None, held: int, length: int, *, pinned: bool) -> Span | None:
        """Take a sequence's cells behind the first `length` from it; returns its last span then."""
        kept = self._split(last, held, length)
        span = last
        while span is not None and span is not kept:
            if pinned:
                self._pin(span, -1)
            self._own(span, -1)
            span = span.parent
        return kept

    def pin(self, last: Span | None) -> None:
        """Note that an answer grows a sequence that no answer grew."""
        for span in _path(last):
            self._pin(span, 1)

    def unpin(self, last: Span | None) -> None:
        """Note that no answer grows a sequence any more."""
        for span in _path(last):
            self._pin(span, -1)

    def exclusive(self, last: Span | None) -> tuple[int, int]:
        """Count the cells at the end of a sequence that no other holds, and the pieces in which they were filled."""
        cells = pieces = 0
        for span in _path(last):
            if span.owners > 1:
                break
            cells += span.length
            pieces += len(span.runs)
        return cells, pieces

    def _split(self, last: Span | None, held: int, length: int) -> Span | None:
        """Return the span of a path that ends at a length, made by splitting where none does."""
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
    """Split a span; returns its first cells, which become the parent of the rest."""
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
