"""Patterns: regular ones, ones that Python would search without end, and ones stripped of assertions."""

import re
import time

import pytest

from glm_gguf.errors import RequestError
from glm_gguf.schema.pattern_search import (
    compiled_search,
    is_regular,
    is_sound,
    without_assertions,
    without_leading_assertions,
)


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
    start = time.thread_time()
    assert not compiled_search(pattern)("a" * 200 + "!")
    assert time.thread_time() - start < 5


TEXTS = ["", "a", "aa", "ab", "b", "a b", "北京", 'a"b', "a\\b", "x\ny", "A1", "ä"]


@pytest.mark.parametrize("pattern", ["^(a|b)+$", "(a+)+b", "^([a-z]|[0-9])*$", "(x|y)+", '^(a|")+b?$'])
def test_both_ways_of_searching_agree(pattern: str) -> None:
    assert [compiled_search(pattern)(text) for text in TEXTS] == [bool(re.search(pattern, text)) for text in TEXTS]


@pytest.mark.parametrize("pattern", [r"^(?!x)(a|aa)+$"])
def test_a_pattern_without_a_search_in_time_is_refused(pattern: str) -> None:
    start = time.thread_time()
    with pytest.raises(RequestError, match="in bounded time"):
        compiled_search(pattern)("a" * 300 + "!")
    assert time.thread_time() - start < 5


@pytest.mark.parametrize("pattern", ["(", "a{2", "[z-a]", "(?P<", "*"])
def test_unsound_patterns_are_recognised(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error:
        assert not is_sound(pattern)
    else:
        assert is_sound(pattern)


@pytest.mark.parametrize(
    ("pattern", "parts"),
    [
        (r"^(?=.*[a-z])(?=.*\d).{8,}$", [r"^(?:.*[a-z])", r"^(?:.*\d)", r"^.{8,}$"]),
        (r"^(?=a|b)c", [r"^(?:a|b)", "^c"]),
        (r"^(?=a)b|c", [r"^(?=a)b|c"]),
        (r"^(?!a)b", [r"^(?!a)b"]),
    ],
)
def test_leading_lookahead_becomes_separate_patterns(pattern: str, parts: list[str]) -> None:
    assert without_leading_assertions(pattern) == parts
    for text in ("abc1defgh", "c", "ab", "b", "ac", "abcdefgh", "12345678"):
        assert all(re.search(part, text) for part in parts) == bool(re.search(pattern, text))
