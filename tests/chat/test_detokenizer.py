"""Tokens become text without a broken character."""

from hypothesis import given
from hypothesis import strategies as st

from glm_gguf.chat.detokenizer import Detokenizer


def texts(pieces: list[bytes]) -> list[str]:
    detokenizer = Detokenizer(pieces.__getitem__)
    return [*map(detokenizer.feed, range(len(pieces))), detokenizer.flush()]


def test_an_unfinished_character_is_held_back() -> None:
    assert texts([b"a\xe5", b"\x8c", b"\x97b"]) == ["a", "", "北b", ""]


def test_an_unfinished_character_at_the_end_is_replaced() -> None:
    assert texts([b"a", b"\xe5\x8c"]) == ["a", "", "\ufffd"]


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert texts([b"\xff", b"\xe5a"]) == ["\ufffd", "\ufffda", ""]


def test_flush_begins_anew() -> None:
    detokenizer = Detokenizer([b"\xe5", b"a"].__getitem__)
    assert (detokenizer.feed(0), detokenizer.flush(), detokenizer.feed(1)) == ("", "\ufffd", "a")


@given(st.lists(st.binary(max_size=4), max_size=12))
def test_the_text_does_not_depend_on_the_cuts(pieces: list[bytes]) -> None:
    assert "".join(texts(pieces)) == b"".join(pieces).decode("utf-8", errors="replace")
