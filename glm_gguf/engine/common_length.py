"""How far two lists of tokens agree."""

from __future__ import annotations


def common_length(first: list[int], second: list[int]) -> int:
    """Count the items at the beginning that both have; slices are compared, which Python does in C."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
