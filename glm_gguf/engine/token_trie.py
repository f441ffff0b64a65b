"""Owners of token sequences by their first tokens, in blocks: a look-up costs the length of the prompt, not of all."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

BLOCK: Final = 32
"""Tokens of a block. Smaller blocks make more nodes, larger ones more tokens to compare after the last whole block."""

Owner = TypeVar("Owner", bound=Hashable)


class _Node(Generic[Owner]):
    """A block after those of its parents, and the owners of all of them. The first node of a path stands for a mix."""

    __slots__ = ("children", "key", "owners", "parent")

    def __init__(self, parent: _Node[Owner] | None, key: Hashable) -> None:
        self.parent = parent
        self.key = key
        self.children: dict[Hashable, _Node[Owner]] = {}
        self.owners: dict[Owner, None] = {}  # a set that keeps its order


@dataclass(frozen=True, slots=True)
class Walk(Generic[Owner]):
    """The nodes that a prompt passes, as far as they have owners."""

    tokens: list[int]
    nodes: list[_Node[Owner]]

    @property
    def deepest(self) -> Iterable[Owner]:
        """Owners that share most whole blocks with the prompt; the one that shares most tokens is among them."""
        return self.nodes[-1].owners if self.nodes else ()

    def sharing(self, length: int) -> Iterable[Owner]:
        """Owners that share the whole blocks of the first `length` tokens, among them all that share the tokens."""
        depth = length // BLOCK
        return self.nodes[depth].owners if depth < len(self.nodes) else ()


class TokenTrie(Generic[Owner]):
    """Sequences of tokens, each computed with a mix of adapters; sequences of different mixes share nothing."""

    def __init__(self) -> None:
        self._root: _Node[Owner] = _Node(None, None)
        self._paths: dict[Owner, list[_Node[Owner]]] = {}

    def walk(self, tokens: list[int], mix: Hashable) -> Walk[Owner]:
        """Follow a prompt through the blocks that have owners."""
        nodes: list[_Node[Owner]] = []
        node = self._root.children.get(mix)
        if node is not None:
            nodes.append(node)
            for key in _keys(tokens):
                node = node.children.get(key)
                if node is None:
                    break
                nodes.append(node)
        return Walk(tokens, nodes)

    def common(self, owner: Owner, held: list[int], walk: Walk[Owner]) -> int:
        """Count the first tokens that a prompt shares with `held`, the tokens of an owner."""
        path, nodes = self._paths[owner], walk.nodes
        blocks = min(len(path), len(nodes))
        if blocks and path[blocks - 1] is not nodes[blocks - 1]:
            blocks = bisect_left(range(blocks), True, key=lambda index: path[index] is not nodes[index])
        if not blocks:
            return 0
        start = (blocks - 1) * BLOCK
        return start + common_length(held[start : start + BLOCK], walk.tokens[start : start + BLOCK])

    def adopt(self, owner: Owner, walk: Walk[Owner], length: int) -> None:
        """Add an owner of the first `length` tokens of a prompt, which has an owner already."""
        path = self._paths[owner] = walk.nodes[: length // BLOCK + 1]
        for node in path:
            node.owners[owner] = None

    def note(self, owner: Owner, tokens: list[int], mix: Hashable) -> None:
        """Note the tokens of an owner: more than before, or fewer, but no others."""
        path = self._paths.get(owner)
        if path is None:
            path = self._paths[owner] = []
            self._step(path, owner, mix)
        while len(path) - 1 > len(tokens) // BLOCK:
            self._leave(path.pop(), owner)
        for key in _keys(tokens, len(path) - 1):
            self._step(path, owner, key)

    def forget(self, owner: Owner) -> None:
        """Remove an owner."""
        for node in reversed(self._paths.pop(owner, [])):
            self._leave(node, owner)

    def _step(self, path: list[_Node[Owner]], owner: Owner, key: Hashable) -> None:
        parent = path[-1] if path else self._root
        node = parent.children.get(key)
        if node is None:
            node = parent.children[key] = _Node(parent, key)
        node.owners[owner] = None
        path.append(node)

    def _leave(self, node: _Node[Owner], owner: Owner) -> None:
        del node.owners[owner]
        if not node.owners and node.parent is not None:
            del node.parent.children[node.key]


def _keys(tokens: list[int], first: int = 0) -> Iterator[tuple[int, ...]]:
    """Yield the whole blocks of a list of tokens from block number `first` on."""
    starts = range(first * BLOCK, len(tokens) - BLOCK + 1, BLOCK)
    return (tuple(tokens[start : start + BLOCK]) for start in starts)


def common_length(first: list[int], second: list[int]) -> int:
    """Count the first tokens that two lists share; it compares slices, which Python does in C."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
