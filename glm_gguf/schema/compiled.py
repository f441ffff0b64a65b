"""A schema as the grammar compiler takes it, and whether the grammar enforces all of it."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from llguidance import LLMatcher, LLParserLimits

from glm_gguf.errors import RequestError
from glm_gguf.schema.dialect import draft_uri, is_oldest
from glm_gguf.schema.draft3 import modern
from glm_gguf.schema.limits import require_modest
from glm_gguf.schema.loosening import looser
from glm_gguf.schema.normal_form import first_malformed, normal_form, well_formed
from glm_gguf.schema.patterns import byte_tokenizer
from glm_gguf.schema.references import SelfContained, self_contained
from glm_gguf.schema.unenforced import first_unenforced, first_unsound, original_path
from glm_gguf.schema.value_check import ValueCheck
from glm_gguf.schema.walk import Schema

LOGGER = logging.getLogger(__name__)
LAYOUT: Final = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": ", "lenient": True}
"""GLM's own separators, as its training data has them: no other blank space, so none without end."""
LIMITS = LLParserLimits(max_items_in_row=20_000, max_lexer_states=50_000, verbose_errors=False)
"""Room for objects of some thousand optional properties, and, at 1 to 2 kB a state, for up to 100 MB."""


@dataclass(frozen=True, slots=True)
class CompiledSchema:
    """`grammar` is the JSON schema for llguidance's `%json`; without `exact` the finished value must be checked."""

    grammar: str
    exact: bool
    check: ValueCheck = field(compare=False)
    unenforced: str | None = None
    """Path of the first keyword that the grammar leaves to the check."""

    def problem(self, value: Any) -> str | None:
        """Say what is wrong with a finished value; None where it fits.

        RequestError where that cannot be told, unless the grammar has enforced all of the schema anyway.
        """
        try:
            return self.check.problem(value)
        except RequestError:
            if self.exact:
                return None
            raise


def compile_schema(schema: Schema, *, strict: bool = False, where: str = "schema") -> CompiledSchema:
    """Compile a schema; RequestError where it is hostile or malformed, and under `strict` where any keyword is left."""
    require_modest(schema, where)
    if not isinstance(schema, dict | bool):
        raise RequestError(f"a schema is an object, not {type(schema).__name__}", field=where)
    return _compile(json.dumps(schema, ensure_ascii=False), strict, where)


@lru_cache(maxsize=64)
def _compile(text: str, strict: bool, where: str) -> CompiledSchema:
    given = _of_known_draft(json.loads(text))
    _tell_malformed(given, strict, where)
    schema = well_formed(given)
    contained = self_contained(schema, where)
    normal = normal_form(contained.schema)
    if isinstance(normal, bool):
        normal = {} if normal else {"not": {}}
    grammar, exact = _grammar(normal, where)
    left = _left(contained, where, schema) or (None if exact else first_unenforced(contained, normal, where))
    if strict and left is not None:
        raise RequestError("no grammar can enforce this keyword", field=left, fix="leave it out, or leave out `strict`")
    return CompiledSchema(grammar, left is None, ValueCheck(schema, where), left)


def _of_known_draft(schema: Schema) -> Schema:
    """Return a schema that says its draft, which is not the oldest."""
    if isinstance(schema, bool):
        return schema
    draft = draft_uri(schema)
    return modern(schema) if is_oldest(draft) else {**schema, "$schema": draft}


def _tell_malformed(schema: Schema, strict: bool, where: str) -> None:
    """Refuse under `strict`, and else say, that a keyword says nothing: people write `"type": "float"`."""
    path = first_malformed(schema, where)
    if path is not None and strict:
        raise RequestError("no schema may have this value", field=path, fix="mend it, or leave out `strict`")
    if path is not None:
        LOGGER.warning("%s has a value that no schema may have; anything is allowed there", path)


def _left(contained: SelfContained, where: str, schema: Schema) -> str | None:
    """Return the path of a keyword that nobody can enforce."""
    if contained.unresolved is not None:
        path = original_path(contained, contained.unresolved, where)
        LOGGER.warning("%s leads nowhere that can be read; anything is allowed there", path)
        return path
    return first_unsound(schema, where)


def _grammar(schema: dict[str, Any], where: str) -> tuple[str, bool]:
    """Return the tightest grammar that compiles, and whether it enforces the whole schema."""
    text = _laid_out(schema)
    failed, messages = validated(LLMatcher.grammar_from_json_schema(text))
    if not failed and not messages:
        return text, True
    for loose in looser(schema):
        text = _laid_out(loose)
        if not validated(LLMatcher.grammar_from_json_schema(text))[0]:
            return text, False
    raise RequestError(f"no grammar can be made: {messages[0][:300]}", field=where)


def _laid_out(schema: Schema) -> str:
    assert isinstance(schema, dict)
    return json.dumps({"x-guidance": LAYOUT, **schema}, ensure_ascii=False)


def validated(grammar: str) -> tuple[bool, list[str]]:
    """Compile a grammar of llguidance's for trial; True with the error, else False with warnings."""
    return LLMatcher.validate_grammar_with_warnings(grammar, byte_tokenizer(), limits=LIMITS)


def validated_lark(text: str) -> str | None:
    """Compile a Lark text for trial; the error, or None."""
    failed, messages = validated(LLMatcher.grammar_from_lark(text))
    return messages[0] if failed else None
