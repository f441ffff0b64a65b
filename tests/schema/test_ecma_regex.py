"""Rewritten patterns match in Rust's and Python's engines as in JavaScript."""

from __future__ import annotations

import pytest

from glm_gguf.schema.ecma_regex import normal_pattern, tokens, unfolded_length
from glm_gguf.schema.pattern_search import compiled_search, is_regular

# JavaScript's results of `new RegExp(pattern).test(text)`.
CASES = [
    (r"^\d$", ["7"], ["٣", "a", "7\n"]),
    (r"^[\d-x]$", ["-", "x", "3"], ["y"]),
    (r"^[a-\d]$", ["-", "a", "3"], ["b"]),
    (r"^a[]|b$", ["b"], ["a", "]"]),
    (r"^[\w.-]+$", ["a-b.c_9"], ["é", ""]),
    (r"^\w+$", ["abc_1"], ["é"]),
    (r"^[a[]+$", ["a[", "["], ["]", ""]),
    (r"^[a&&b]$", ["&", "a", "b"], ["c"]),
    (r"^[^]$", ["x", "\n"], [""]),
    (r"^[\uD800\uDC00-\uDBFF\uDFFF]$", ["😀"], ["x"]),
    (r"^\uD83D\uDE00$", ["😀"], ["x"]),
    (r"^\u{1F600}$", ["😀"], ["x"]),
    (r"^a\/b$", ["a/b"], ["ab"]),
    (r"^\cC[\cA-\cB]\\cC$", ["\x03\x01\\cC"], ["C", "cC"]),
    (r"^\p{Lu}$", ["Ä"], ["ä"]),
]


@pytest.mark.parametrize(("pattern", "good", "bad"), CASES)
def test_a_pattern_is_searched_as_in_javascript(pattern: str, good: list[str], bad: list[str]) -> None:
    search = compiled_search(pattern)
    assert all(map(search, good))
    assert not any(map(search, bad))
    assert is_regular(normal_pattern(pattern))


@pytest.mark.parametrize("pattern", [r"\A[a-z]+\Z", r"^[a-z]+$(?![\s\S])", r"^[a-z]+(?![\s\S])", r"^[a-z]+\z"])
def test_other_words_for_the_ends_are_understood(pattern: str) -> None:
    search = compiled_search(pattern)
    assert is_regular(normal_pattern(pattern))
    assert search("abc")
    assert not search("abc\n")
    assert not search("1abc")


@pytest.mark.parametrize("pattern", [r"a\[b[\]c]d", r"[]a]b", r"\u{1F600}x\x41\p{L}", "[", "a\\", "[^", "(?=[)])"])
def test_tokens_make_up_the_pattern(pattern: str) -> None:
    assert "".join(tokens(pattern)) == pattern


@pytest.mark.parametrize(
    ("pattern", "length"),
    [
        ("abc", 3),
        ("a{5}", 5),
        ("(a{50}){50}", 2500),
        ("(ab{2}){3}c{2,}", 11),
        (r"[a-z{9}]{4}\{3}", 7),
        ("(a|b{3}){2}", 10),
        ("a{2,7}", 7),
    ],
)
def test_counted_repetitions_are_multiplied(pattern: str, length: int) -> None:
    assert unfolded_length(pattern) == length
