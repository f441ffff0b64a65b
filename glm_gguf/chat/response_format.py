"""The required form of an answer: OpenAI's `response_format`, and patterns, grammars and choices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from glm_gguf.chat.type_schema import answer_schema, is_type
from glm_gguf.errors import RequestError
from glm_gguf.misspelled_names import meant_name
from glm_gguf.schema.gbnf import lark_of_gbnf
from glm_gguf.schema.walk import Schema


@dataclass(frozen=True, slots=True)
class TextFormat:
    """Free text."""


@dataclass(frozen=True, slots=True)
class SchemaFormat:
    """A JSON value that fits a schema; `strict` refuses keywords that no grammar enforces."""

    schema: Schema
    strict: bool = False
    field: str = field(default="response_format.json_schema.schema", compare=False)
    """Place of the schema, for errors."""


@dataclass(frozen=True, slots=True)
class RegexFormat:
    """Text that matches a regular expression as a whole (Rust's syntax, without look-around)."""

    pattern: str


@dataclass(frozen=True, slots=True)
class LarkFormat:
    """Text of a grammar in llguidance's Lark dialect, from its rule `start`."""

    grammar: str


@dataclass(frozen=True, slots=True)
class ChoiceFormat:
    """One of several texts."""

    options: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.options or not all(isinstance(option, str) and option for option in self.options):
            _refuse("a choice needs texts to choose from", "give a list of non-empty texts")


ResponseFormat = TextFormat | SchemaFormat | RegexFormat | LarkFormat | ChoiceFormat

JSON_OBJECT = SchemaFormat({"type": "object"})


_FORMS = (
    'give {"type": "json_schema", "json_schema": {"schema": {…}}}, {"type": "regex", "pattern": "…"}, '
    '{"type": "choice", "choices": […]}, {"type": "lark" or "gbnf", "grammar": "…"}, or the type json_object or text'
)


_SCHEMA_FIELDS = ("schema", "json_schema", "strict", "name", "description")
_FIELDS = {
    "text": (),
    "json_object": _SCHEMA_FIELDS,
    "json_schema": _SCHEMA_FIELDS,
    "regex": ("pattern",),
    "lark": ("grammar",),
    "gbnf": ("grammar",),
    "grammar": ("grammar",),
    "choice": ("choices",),
}
"""A format's type → its other fields."""


def response_format(value: object) -> ResponseFormat:
    """Read OpenAI's `response_format`; RequestError for anything that is none.

    Others are {"type": "regex", "pattern"}, {"type": "choice", "choices"}, {"type": "lark", "grammar"}, {"type":
    "gbnf", "grammar"}, and a type: a pydantic model, dataclass or TypedDict, list[…]. A schema may also stand beside
    `type`, as llama.cpp and others have it.
    """
    if isinstance(value, TextFormat | SchemaFormat | RegexFormat | LarkFormat | ChoiceFormat):
        return value
    if value is None:
        return TextFormat()
    if is_type(value):
        return SchemaFormat(answer_schema(value))
    if not isinstance(value, Mapping):
        _refuse(f"{type(value).__name__} is no format", 'give {"type": …}, or a pydantic model')
    _require_known(value)
    match dict(value):
        case {"type": "text"}:
            return TextFormat()
        case {"type": "json_object" | "json_schema", "schema": dict(schema), **rest} if "json_schema" not in rest:
            return SchemaFormat(schema, strict=rest.get("strict") is True, field="response_format.schema")
        case {"type": "json_object", **rest} if rest.get("schema") is None and not rest.get("json_schema"):
            return JSON_OBJECT
        case {"type": "json_schema", "json_schema": {"schema": dict(schema), **rest}}:
            return SchemaFormat(schema, strict=rest.get("strict") is True)
        case {"type": "regex", "pattern": str(pattern)}:
            return RegexFormat(pattern)
        case {"type": "lark", "grammar": str(grammar)}:
            return LarkFormat(grammar)
        case {"type": "gbnf" | "grammar", "grammar": str(grammar)}:
            return LarkFormat(lark_of_gbnf(grammar, "response_format.grammar"))
        case {"type": "choice", "choices": list(options) | tuple(options)}:
            return ChoiceFormat(tuple(options))
    _refuse(f"the format is unknown or incomplete: {str(dict[str, Any](value))[:120]}", _FORMS)


def _require_known(value: Mapping[str, Any]) -> None:
    """Refuse fields that a format's type does not have: ignoring one would not give the requested answer."""
    fields = _FIELDS.get(str(value.get("type")))
    if fields is None:
        return
    for name, wish in value.items():
        if name not in ("type", *fields) and wish not in (None, False, ""):
            _refuse(f"a format of type {value['type']!r} has no field {name!r}", _FORMS)
    inner = value.get("json_schema")
    for name in inner if isinstance(inner, Mapping) else ():
        if name not in _SCHEMA_FIELDS and (meant := meant_name(str(name), _SCHEMA_FIELDS)) is not None:
            _refuse(f"json_schema.{name}: its name is `{meant}` here", "rename it")


def _refuse(what: str, fix: str) -> NoReturn:
    raise RequestError(what, field="response_format", fix=fix)
