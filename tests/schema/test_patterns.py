"""Patterns: which are regular, which Python would search for ever, and what is left without assertions."""

import re
import time

import pytest

from glm_gguf.errors import RequestError
from glm_gguf.schema.patterns import backtracks, compiled_search, is_regular, without_assertions


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        (r"^(?!a)b", "^b"),
        (r"^(?=.*[)(])x$", "^x$"),
        (r"(?<=a(b)c)d", "d"),
        (r"(?<!\()e\bf\B", "ef"),
        (r"[(?!]a", r"[(?!]a"),
        (r"\(?!", r"\(?!"),
        (r"(?:a)(?!b", "(?:a)"),
    ],
)
def test_assertions_are_left_out(pattern: str, left: str) -> None:
    assert without_assertions(pattern) == left


@pytest.mark.parametrize(
    ("pattern", "regular"),
    [("^a+$", True), (r"^\p{L}{2}", True), ("(?=a)", False), (r"(a)\1", False), ("(", False), (r"\bx", False)],
)
def test_regular_patterns_are_known(pattern: str, regular: bool) -> None:
    assert is_regular(pattern) is regular


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "^(([a-z])+.)+[A-Z]([a-z])+$", "((a*)b?)*c"])
def test_exponential_patterns_are_searched_in_linear_time(pattern: str) -> None:
    assert backtracks(pattern)
    start = time.perf_counter()
    assert not compiled_search(pattern)("a" * 200 + "!")
    assert time.perf_counter() - start < 1


TEXTS = ["", "a", "aa", "ab", "b", "a b", "北京", 'a"b', "a\\b", "x\ny", "A1", "ä"]


@pytest.mark.parametrize("pattern", ["^(a|b)+$", "(a+)+b", "^([a-z]|[0-9])*$", "(x|y)+", '^(a|")+b?$'])
def test_both_ways_of_searching_agree(pattern: str) -> None:
    assert [compiled_search(pattern)(text) for text in TEXTS] == [bool(re.search(pattern, text)) for text in TEXTS]


@pytest.mark.parametrize("pattern", [r"^(?!x)(a+)+$", "("])
def test_what_cannot_be_searched_safely_is_refused(pattern: str) -> None:
    with pytest.raises(RequestError, match="safely"):
        compiled_search(pattern)
