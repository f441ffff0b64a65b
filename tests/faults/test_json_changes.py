"""Changes to JSON: one number decides all, most results are JSON again, and they hold what the code knows."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest

from tests.faults.known_json import READERS, json_changes
from tests.faults.targets import seeds

NAMES = pytest.mark.parametrize("name", sorted(READERS))


@NAMES
def test_a_number_decides_a_change(name: str) -> None:
    changes = json_changes(name)
    assert changes is not None
    for data in seeds(name):
        assert changes.changed(data, 7) == changes.changed(data, 7)
        assert changes.crossed(data, data, 7) == changes.crossed(data, data, 7)


@pytest.mark.parametrize("name", ["chat", "messages", "ollama", "responses", "schema"])
def test_most_changed_inputs_are_json_again(name: str) -> None:
    changes = json_changes(name)
    assert changes is not None
    good = seeds(name)
    results = [changes.changed(good[number % len(good)], number) for number in range(100)]
    again = [text for text in results if text is not None and is_json(text)]
    assert len(again) > 80
    assert len(set(again)) > 60


def test_inputs_without_json_are_left_to_others() -> None:
    changes = json_changes("journal")
    assert changes is not None
    assert changes.changed(b"damaged", 1) is None
    assert changes.crossed(b"{}", b"damaged", 1) is None


def test_the_fields_of_models_and_the_words_of_code_are_known() -> None:
    changes = json_changes("chat")
    assert changes is not None
    good = seeds("chat")[0]
    texts = b"".join(changes.changed(good, number) or b"" for number in range(1000))
    for name in (b'"stream_options"', b'"top_logprobs"', b'"tool_choice"', b'"patternProperties"', b'"json_object"'):
        assert name in texts


def is_json(text: bytes) -> bool:
    with suppress(ValueError, RecursionError):
        json.loads(text)
        return True
    return False
