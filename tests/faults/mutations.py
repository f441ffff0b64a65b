"""Changes to good inputs, drawn by hypothesis: pieces replaced by what breaks many readers, doubled, exchanged, cut.

Where inputs hold JSON, its values and keys are changed too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hypothesis import strategies as st

from tests.faults.known_json import json_changes
from tests.faults.targets import seeds

TELLING: Final = (
    *(b"-1", b"0", b"1.5", b"1e999", b"NaN", b"9223372036854775807", b"18446744073709551616", b"9" * 4400),
    *(b"null", b"true", b"[]", b"{}", b'""', b'"', b"[", b"]", b"{", b"}", b",", b":", b"\\", b"\\ud800", b"\\u0000"),
    *(b"\x00", b"\xff", b"\xc3", b"\n", b"'", b"<|user|>", b"{{", b"}}", b"{%", b"%}", b"(" * 300, b"[" * 300),
    *(
        bytes(8),
        b"\xff" * 8,
        b"\xff" * 4,
        b"\x00\x00\x00\x80",
        b"\x00" * 7 + b"\x80",
        b"\x01\x00\x00\x00\x00\x00\x00\x00",
    ),
)
"""What breaks readers of JSON, of templates and of binary numbers."""

Edit = tuple[float, int, bytes | float]

EDITS: Final = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.sampled_from((0, 0, 1, 2, 4, 8, 20, 200)),
        st.one_of(st.sampled_from(TELLING), st.binary(max_size=8), st.floats(0, 1, exclude_max=True)),
    ),
    max_size=4,
)
"""The place as a fraction of the input, the number of bytes removed, and the bytes inserted or the place of others."""


def mutated(data: bytes, edits: Sequence[Edit]) -> bytes:
    """Return an input with edits."""
    for where, gone, new in edits:
        at = int(where * len(data))
        if isinstance(new, float):
            other = int(new * len(data))
            new = data[other : other + max(gone, 16)]
        data = data[:at] + new + data[at + gone :]
    return data


def inputs(name: str) -> st.SearchStrategy[bytes]:
    """Return a strategy of inputs of a target: mutated seeds, and at times bytes of no seed."""
    seed = st.sampled_from(seeds(name))
    changed, random_bytes, changes = st.builds(mutated, seed, EDITS), st.binary(max_size=300), json_changes(name)
    if changes is None:
        return st.one_of(changed, changed, changed, random_bytes)

    def changed_json(data: bytes, number: int) -> bytes:
        return changes.changed(data, number) or data

    other = st.builds(changed_json, seed, st.integers(0, 2**32 - 1))
    return st.one_of(changed, other, other, random_bytes)
