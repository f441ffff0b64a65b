"""Schemas with the lowest integers compile: llguidance ended the process with them."""

from __future__ import annotations

from typing import Any

import pytest

from glm_gguf.chat.grammar import answer_grammar, rules
from glm_gguf.errors import RequestError
from glm_gguf.schema.fatal_numbers import without_fatal_numbers
from glm_gguf.schema.grammar_share import compile_schema

LOWEST = -(2**63)


@pytest.mark.parametrize(
    ("schema", "fits", "fails"),
    [
        pytest.param({"const": LOWEST}, LOWEST, 1, id="const"),
        pytest.param({"const": -9223372036854775296}, -9223372036854775296, 1, id="rounds to it"),
        pytest.param({"enum": [LOWEST, "a"]}, "a", "b", id="enum"),
        pytest.param({"const": {"a": [LOWEST]}}, {"a": [LOWEST]}, {"a": [1]}, id="inside a value"),
        pytest.param({"properties": {"a": {"const": LOWEST}}}, {"a": LOWEST}, {"a": 1}, id="property"),
        pytest.param({"type": "integer", "minimum": LOWEST, "maximum": LOWEST + 10}, LOWEST + 1, 1, id="bounds"),
        pytest.param({"const": -(10**400)}, -(10**400), 1, id="beyond floats"),
    ],
)
def test_a_schema_with_the_lowest_integers_compiles(schema: dict[str, Any], fits: object, fails: object) -> None:
    compiled = compile_schema(schema)
    assert not compiled.exact
    assert compiled.problem(fits) is None
    assert compiled.problem(fails) is not None


def test_other_numbers_stay_in_the_grammar() -> None:
    schema = {"enum": [-9 * 10**18, 2**63, -1.5, 0], "allOf": [{"minimum": -9e18}]}
    assert without_fatal_numbers(schema) is schema
    assert compile_schema({"const": -9 * 10**18}).exact


@pytest.mark.parametrize("number", ["-9223372036854775808", "-9.3e18", "-" + "9" * 5000])
def test_a_grammar_with_such_a_number_is_refused(number: str) -> None:
    grammar = 'start: a\na: %json {"const": ' + number + "}"
    form = {"type": "lark", "grammar": grammar}
    with pytest.raises(RequestError, match=r"-9\.2e\+18"):
        answer_grammar([], rules({"response_format": form}))
