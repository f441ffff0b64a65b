"""The share of a schema that a grammar enforces: what llguidance compiles, and whether a check must do the rest."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from glm_gguf.errors import RequestError
from glm_gguf.schema.crowded_patterns import without_crowded_patterns
from glm_gguf.schema.deep_stack import on_deep_stack
from glm_gguf.schema.draft import DRAFT_4, draft_of, is_draft_3, modern
from glm_gguf.schema.fatal_numbers import without_fatal_numbers
from glm_gguf.schema.keyword_rules import well_formed
from glm_gguf.schema.normal_form import normal_form
from glm_gguf.schema.pattern_search import byte_tokenizer
from glm_gguf.schema.references import self_contained
from glm_gguf.schema.satisfiability import possible
from glm_gguf.schema.size_limits import modest_nodes, require_modest
from glm_gguf.schema.unenforced_keywords import first_unenforced, looser
from glm_gguf.schema.value_check import ValueCheck
from glm_gguf.schema.walk import Schema

if TYPE_CHECKING:
    from llguidance import LLParserLimits

T = TypeVar("T")

LAYOUT: Final = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": ", "lenient": True}
"""GLM's separators, as in its training data; no other blank space is allowed, so it cannot go on without end."""


@dataclass(frozen=True, slots=True)
class CompiledSchema:
    """`grammar` is the JSON schema for llguidance's `%json`; unless `exact`, the finished value must be checked."""

    grammar: str
    exact: bool
    check: ValueCheck = field(compare=False)
    unenforced: str | None = None
    """Path of the first keyword that only the check enforces."""

    def problem(self, value: Any) -> str | None:
        """Say what is wrong with a finished value; None if it fits.

        RequestError if the check cannot tell, unless the grammar has enforced the whole schema anyway.
        """
        try:
            return self.check.problem(value)
        except RequestError:
            if self.exact:
                return None
            raise


@dataclass(frozen=True, slots=True)
class _Found:
    """A compiled schema, and the paths in it that OpenAI's strict mode refuses."""

    compiled: CompiledSchema
    foreign: str | None
    unenforced: str | None

    def at(self, field: str, *, strict: bool) -> CompiledSchema:
        """Return the compiled schema with paths below `field`; RequestError if `strict` refuses it."""
        if strict and self.foreign is not None:
            path, fix = f"{field}{self.foreign}", "name one of JSON's types, or leave out `strict`"
            raise RequestError("JSON has no such type", field=path, fix=fix)
        if self.unenforced is None:
            return self.compiled
        if strict:
            fix = "leave it out, or leave out `strict`"
            raise RequestError("no grammar can enforce this keyword", field=f"{field}{self.unenforced}", fix=fix)
        return replace(self.compiled, unenforced=f"{field}{self.unenforced}")


class TextCache(Generic[T]):
    """Values by text, the latest used, up to a number of characters of text; for any thread.

    A value counts as `of_value` characters beside its text: many short texts take memory too.
    """

    def __init__(self, most_characters: int, of_value: int = 0) -> None:
        self._most = most_characters
        self._of_value = of_value
        self._characters = 0
        self._lock = threading.Lock()
        self._values: OrderedDict[str, T] = OrderedDict()

    def get(self, text: str) -> T | None:
        """Return the value of a text; None if there is none."""
        with self._lock:
            value = self._values.get(text)
            if value is not None:
                self._values.move_to_end(text)
            return value

    def put(self, text: str, value: T) -> None:
        """Keep a value, and evict the least recently used."""
        with self._lock:
            if text not in self._values:
                self._characters += len(text) + self._of_value
            self._values[text] = value
            while self._characters > self._most:
                evicted, _ = self._values.popitem(last=False)
                self._characters -= len(evicted) + self._of_value


MOST_KEPT = 16_000_000
"""Characters of the schemas that stay compiled: the largest set of tools, and those of other clients."""
OF_SCHEMA = 700
"""A compiled schema takes 4 kB, and 6 bytes a character: 100 MB in all."""
_KEPT: TextCache[_Found] = TextCache(MOST_KEPT, OF_SCHEMA)


def compile_schema(schema: Schema, *, strict: bool = False, field: str = "schema") -> CompiledSchema:
    """Compile a schema; RequestError if it is hostile, no schema, or if no value fits it.

    With `strict` also if no grammar enforces one of its keywords.
    """
    text = _written(schema, field)
    found = _KEPT.get(text)
    if found is None:
        require_modest(schema, text, field)
        if not isinstance(schema, dict | bool):
            raise RequestError(f"a schema is an object, not {type(schema).__name__}", field=field)
        found = _compile(text, field)
        _KEPT.put(text, found)
    return found.at(field, strict=strict)


def _written(schema: object, field: str) -> str:
    """Write a schema as JSON, its key in the cache."""
    try:
        return json.dumps(schema, ensure_ascii=False, allow_nan=False)
    except RecursionError as error:
        raise RequestError("the schema has too many levels", field=field, fix="give a simpler schema") from error
    except (TypeError, ValueError) as error:
        raise RequestError(f"it is no JSON: {error}", field=field, fix="give values that JSON can hold") from error


def _compile(text: str, field: str) -> _Found:
    given = read = json.loads(text)
    draft = draft_of(given, modest_nodes(given, field))
    if is_draft_3(draft):
        given, draft = modern(given), DRAFT_4
    schema, foreign = well_formed(given, field)
    contained = self_contained(schema, draft, field)
    normal = _possible(normal_form(contained.schema), field)
    grammar, exact = _grammar(normal, field)
    unenforced = None if exact else first_unenforced(contained, normal)
    written = text if schema is read else _written(schema, field)
    return _Found(CompiledSchema(grammar, exact, ValueCheck(partial(json.loads, written), draft)), foreign, unenforced)


def _possible(schema: Schema, field: str) -> dict[str, Any]:
    """Return a schema with `false` for schemas in it that no value fits; RequestError if no value fits the whole."""
    left, why_not = possible(schema)
    if why_not is not None:
        raise RequestError(f"no value fits this schema: {why_not}", field=field, fix="look for contradictions")
    return left if isinstance(left, dict) else {}


def _grammar(schema: Schema, field: str) -> tuple[str, bool]:
    """Return the tightest grammar that compiles, and whether it enforces the whole schema."""
    from llguidance import LLMatcher

    told = without_fatal_numbers(without_crowded_patterns(schema))
    text = _laid_out(told)
    failed, messages = validated(LLMatcher.grammar_from_json_schema(text), deep=_refers(text))
    if not failed and (told is not schema or not messages):
        return text, told is schema
    schema = told
    for loose in looser(schema):
        text = _laid_out(loose)
        if not validated(LLMatcher.grammar_from_json_schema(text), deep=_refers(text))[0]:
            return text, False
    raise RequestError(f"no grammar can be made: {messages[0][:300]}", field=field, fix="give a simpler schema")


def _refers(text: str) -> bool:
    """Tell whether the JSON text of a schema may hold references; depth without them is limited."""
    return '"$ref"' in text


def _laid_out(schema: Schema) -> str:
    assert isinstance(schema, dict)
    return json.dumps({"x-guidance": LAYOUT, **schema}, ensure_ascii=False)


@lru_cache(maxsize=1)
def limits() -> LLParserLimits:
    """Return the limits of a grammar: objects of some thousand optional properties, and 100 MB of lexer states."""
    from llguidance import LLParserLimits

    return LLParserLimits(max_items_in_row=20_000, max_lexer_states=50_000, verbose_errors=False)


def validated(grammar: str, *, deep: bool = True) -> tuple[bool, list[str]]:
    """Compile a grammar of llguidance's for trial; return True with the error, or False with warnings.

    A `deep` grammar has references in a row; it needs a thread with a deep stack, 0.2 ms.
    """
    from llguidance import LLMatcher

    trial = partial(LLMatcher.validate_grammar_with_warnings, grammar, byte_tokenizer(), limits=limits())
    return on_deep_stack(trial) if deep else trial()


def validated_lark(text: str) -> str | None:
    """Compile a Lark text for trial; return the error, or None."""
    from llguidance import LLMatcher

    failed, messages = validated(LLMatcher.grammar_from_lark(text))
    return messages[0] if failed else None
