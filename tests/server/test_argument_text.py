"""The text in a custom tool's arguments streams piece by piece, however they are cut."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glm_gguf.server.responses.argument_text import ArgumentText


def read(pieces: list[str]) -> list[str]:
    text = ArgumentText("input")
    return [*(text.feed(piece) for piece in pieces), text.flush()]


@given(st.text(st.characters(codec="utf-8")), st.booleans(), st.lists(st.integers(0, 80), max_size=5))
def test_the_text_is_whole_however_it_is_cut(text: str, ascii_only: bool, cuts: list[int]) -> None:
    arguments = json.dumps({"input": text}, ensure_ascii=ascii_only)
    places = sorted({0, len(arguments), *(cut for cut in cuts if cut < len(arguments))})
    pieces = [arguments[start:end] for start, end in pairwise(places)]
    assert "".join(read(pieces)) == text
    assert "".join(read(list(arguments))) == text


def test_what_is_certain_comes_at_once() -> None:
    assert read(['{ "input" : "a', "b\\", "n\\ud83d", "\\ude00c", '"}']) == ["a", "b", "\n", "😀c", "", ""]


OTHERS: dict[str, tuple[str, Any]] = {
    "another field first": ('{"a": 1, "input": "x"}', "x"),
    "another field": ('{"text": "x"}', '{"text": "x"}'),
    "no text": ('{"input": 5}', '{"input": 5}'),
    "no JSON": ("x = 5", "x = 5"),
    "half a pair of surrogates": ('{"input": "\\ud83d x"}', "? x"),
    "half a pair at the end": ('{"input": "\\ud83d"}', "?"),
    "the other half": ('{"input": "\\ude00 x"}', "? x"),
    "nothing": ("", ""),
}


@pytest.mark.parametrize(("arguments", "text"), OTHERS.values(), ids=OTHERS.keys())
def test_other_arguments_are_not_lost(arguments: str, text: str) -> None:
    assert "".join(read([arguments])) == text
    assert "".join(read(list(arguments))) == text
