"""N-gram lookup: what followed the last tokens where they stood earlier in the prompt or the answer."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

LENGTH: Final = 3
"""Tokens that must be equal for a match."""
LONGEST: Final = 32
"""Tokens of a match that are compared; a longer match counts as one of these."""
_CANDIDATES: Final = 8
_FEWEST_SLOTS_BITS: Final = 12
_FACTORS: Final = (2654435761, 2246822519, 3266489917)  # odd constants of xxHash: they spread token ids over the slots


@dataclass(frozen=True, slots=True)
class Match:
    """The last `length` tokens stood before `position` too."""

    position: int
    length: int


class NgramLookup:
    """Positions of the n-grams of one sequence, whose list of tokens only grows.

    A look-up and each new token take constant time. It keeps one integer a token, beside a table of slots for hashes of
    n-grams. N-grams that share a slot are chained from the latest to the earliest, as zlib does.
    """

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens = tokens
        self._mask = (1 << max(_FEWEST_SLOTS_BITS, (2 * len(tokens)).bit_length())) - 1
        self._latest = array("i", [-1]) * (self._mask + 1)
        self._earlier = array("i", [-1]) * LENGTH
        """End of an n-gram → end of the one before it in the same slot."""

    def find(self) -> Match | None:
        """Find the longest match among the latest few; of equally long ones the latest."""
        tokens, n_tokens = self._tokens, len(self._tokens)
        if n_tokens <= LENGTH:
            return None
        for end in range(len(self._earlier), n_tokens):
            slot = self._slot(end)
            self._earlier.append(self._latest[slot])
            self._latest[slot] = end
        best, longest = -1, LENGTH - 1
        end = self._latest[self._slot(n_tokens)]
        for _ in range(_CANDIDATES):
            if end < 0 or longest == LONGEST:
                break
            length = 0
            while length < min(end, LONGEST) and tokens[end - 1 - length] == tokens[n_tokens - 1 - length]:
                length += 1
            if length > longest:
                best, longest = end, length
            end = self._earlier[end]
        return None if best < 0 else Match(best, longest)

    def copied(self, match: Match, count: int) -> list[int]:
        """Return the `count` tokens from the match on; past the last token the copy goes on with itself."""
        n_tokens = len(self._tokens)  # a count below 1 gives none
        copy: list[int] = []
        for index in range(match.position, match.position + count):
            copy.append(self._tokens[index] if index < n_tokens else copy[index - n_tokens])
        return copy

    def _slot(self, end: int) -> int:
        """Hash the n-gram before `end`."""
        ids = self._tokens[end - LENGTH : end]
        hashed = ids[0] * _FACTORS[0] + ids[1] * _FACTORS[1] + ids[2] * _FACTORS[2]
        return (hashed ^ hashed >> 17) & self._mask
