"""JSON of others: halves of characters are replaced, and what is no JSON is one kind of error."""

from __future__ import annotations

import json

import pytest

from glm_gguf.strict_json import unique
from glm_gguf.whole_json import whole_json

TEXTS = {
    "a half in a value": ('["a\\ud83d"]', ["a\ufffd"]),
    "a half in a name": ('{"\\udc00": 1}', {"\ufffd": 1}),
    "a pair": ('["\\ud83d\\ude00"]', ["\U0001f600"]),
    "no escape": ('["é", 1.5, null]', ["é", 1.5, None]),
    "bytes behind a mark": (b'\xef\xbb\xbf["a\xff"]', ["a\ufffd"]),
}


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_every_text_can_be_encoded(name: str) -> None:
    text, value = TEXTS[name]
    assert whole_json(text) == value
    json.dumps(value, ensure_ascii=False).encode()


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "9" * 5000], ids=["nothing", "cut", "deep", "long number"])
def test_all_else_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        whole_json(text)


def test_members_are_made_as_asked() -> None:
    with pytest.raises(ValueError, match="occurs twice"):
        whole_json('{"a": 1, "a": 2}', unique)
