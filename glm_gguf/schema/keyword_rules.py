"""The values that each keyword of a schema may have: wrong ones are refused, harmless spellings corrected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from glm_gguf.errors import RequestError
from glm_gguf.schema.pattern_search import is_sound
from glm_gguf.schema.type_names import FOREIGN_TYPES, TYPES
from glm_gguf.schema.walk import MANY, NAMED, ONE, Place, Schema, rewrite_children

_ANY: Final = "any"
_WRONG: Final = object()
_NOTHING: Final = object()


class WellFormed(NamedTuple):
    """The schema, and the path of its first foreign type name, which OpenAI's strict mode refuses."""

    schema: Schema
    foreign: str | None


def well_formed(schema: Schema, field: str) -> WellFormed:
    """Return a schema with harmless spellings corrected; RequestError names a keyword with a wrong value."""
    if not isinstance(schema, dict):
        return WellFormed(schema, None)
    correction = _Correction()
    schema = correction.corrected(schema, Place(field))
    return WellFormed(schema, None if correction.foreign is None else correction.foreign.removeprefix(field))


class _Correction:
    """Corrects one schema, and remembers its first foreign type name."""

    def __init__(self) -> None:
        self.foreign: str | None = None

    def corrected(self, node: Any, place: Place) -> Any:
        """Correct a schema and all schemas in it; the same object if nothing changes."""
        if not isinstance(node, dict):
            return node
        corrected = {}
        for key, given in node.items():
            if key in RULES:
                value = _NOTHING if given is None else RULES[key].read(given)
                if value is _WRONG:
                    _refuse(key, given, place)
                if not _is_same(value, given):
                    corrected[key] = value
        if self.foreign is None and _is_foreign(node.get("type")):
            self.foreign = f"{place}/type"
        if corrected:
            node = {key: value for key, value in {**node, **corrected}.items() if value is not _NOTHING}
        return rewrite_children(node, self.corrected, place)


def _is_same(value: Any, given: Any) -> bool:
    """Tell whether a rule left a value unchanged; rules copy a list or an object, not what it holds."""
    return value is given or (isinstance(value, list | dict) and value == given)


def _refuse(key: str, value: Any, place: Place) -> None:
    text = repr(value)
    if key == "pattern" and isinstance(value, str):
        raise RequestError(f"{text[:200]} is no regular expression", field=f"{place}/{key}", fix="correct the pattern")
    if key == "patternProperties" and isinstance(value, dict):
        wrong = next((name for name in value if not is_sound(name)), None)
        if wrong is not None:
            raise RequestError(
                f"{wrong[:200]!r} is no regular expression", field=f"{place}/{key}", fix="correct the pattern"
            )
    raise RequestError(f"{text[:80]} is not {RULES[key].wanted}", field=f"{place}/{key}", fix="correct the schema")


def _is_foreign(kind: Any) -> bool:
    names = kind if isinstance(kind, list) else [kind]
    return any(isinstance(name, str) and name not in TYPES and name != _ANY for name in names)


def is_type(value: Any) -> bool:
    """Tell whether a value of `type` names types, or restricts nothing."""
    return value is None or _types(value) is not _WRONG


def _types(value: Any) -> Any:
    """Read type names; `any`, a word of the first drafts, restricts nothing."""
    names = [_type(name) for name in (value if isinstance(value, list) else [value])]
    if not names or _WRONG in names:
        return _WRONG
    if _ANY in names:
        return _NOTHING
    return names if isinstance(value, list) else names[0]


def _type(name: Any) -> Any:
    if name is None:
        return "null"
    if not isinstance(name, str):
        return _WRONG
    small = name.lower()
    return small if small in TYPES or small == _ANY else FOREIGN_TYPES.get(small, _WRONG)


def _number(value: Any) -> Any:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else _WRONG


def _positive(value: Any) -> Any:
    return value if _number(value) is not _WRONG and value > 0 else _WRONG


def _exclusive(value: Any) -> Any:
    """Read an exclusive bound, which is a Boolean in draft 4."""
    return value if isinstance(value, bool) else _number(value)


def _count(value: Any) -> Any:
    return int(value) if _number(value) is not _WRONG and value >= 0 and value == int(value) else _WRONG


def _boolean(value: Any) -> Any:
    return value if isinstance(value, bool) else _WRONG


def _text(value: Any) -> Any:
    return value if isinstance(value, str) else _WRONG


def _pattern(value: Any) -> Any:
    return value if isinstance(value, str) and is_sound(value) else _WRONG


def _address(value: Any) -> Any:
    if not isinstance(value, str):
        return _WRONG
    try:
        urlsplit(value)
    except ValueError:
        return _WRONG
    return value


def _identifier(value: Any) -> Any:
    """Read an identifier; a malformed one is dropped, for no reference can name it."""
    return _NOTHING if _address(value) is _WRONG else value


def _names(value: Any) -> Any:
    return value if isinstance(value, list) and all(isinstance(name, str) for name in value) else _WRONG


def _required(value: Any) -> Any:
    """Read the required names; draft 3's Boolean restricts nothing in later drafts."""
    return _NOTHING if isinstance(value, bool) else _names(value)


def _list(value: Any) -> Any:
    return value if isinstance(value, list) else _WRONG


def _schema(value: Any) -> Any:
    """Read a schema; PHP writes an empty one as an empty list."""
    return {} if value == [] or value is None else value if isinstance(value, dict | bool) else _WRONG


def _schemas(value: Any) -> Any:
    schemas = [_schema(schema) for schema in value] if isinstance(value, list) else [_WRONG]
    return _WRONG if _WRONG in schemas else schemas


def _some_schemas(value: Any) -> Any:
    return _NOTHING if value == [] else _schemas(value)


def _items(value: Any) -> Any:
    return _schemas(value) if isinstance(value, list) else _schema(value)


def _named(value: Any) -> Any:
    """Read schemas by name; PHP writes an empty object as an empty list."""
    named = {} if value == [] else value
    schemas = {name: _schema(schema) for name, schema in named.items()} if isinstance(named, dict) else {"": _WRONG}
    return _WRONG if _WRONG in schemas.values() else schemas


def _definitions(value: Any) -> Any:
    """Read definitions; entries that are no schemas are dropped."""
    if not isinstance(value, dict):
        return _NOTHING
    return {name: schema for name, schema in value.items() if isinstance(schema, dict | bool)}


def _pattern_properties(value: Any) -> Any:
    named = _named(value)
    return named if named is not _WRONG and all(map(is_sound, named)) else _WRONG


def _demands(value: Any) -> Any:
    """Read the names that each name demands."""
    if not isinstance(value, dict):
        return _WRONG
    demands = {name: _names([needed] if isinstance(needed, str) else needed) for name, needed in value.items()}
    return _WRONG if _WRONG in demands.values() else demands


def _dependencies(value: Any) -> Any:
    """Read names or a schema that each name demands."""
    if not isinstance(value, dict):
        return _WRONG
    read = {
        name: _schema(demand) if isinstance(demand, dict | bool) else _demands({name: demand})
        for name, demand in value.items()
    }
    if _WRONG in read.values():
        return _WRONG
    return {name: demand if isinstance(value[name], dict | bool) else demand[name] for name, demand in read.items()}


class KeywordRule(NamedTuple):
    """How a keyword's value is read, and the words for a right one."""

    read: Callable[[Any], Any]
    wanted: str


_NUMBERS: Final = ("minimum", "maximum")
_EXCLUSIVE: Final = ("exclusiveMinimum", "exclusiveMaximum")
_COUNTS: Final = (
    *("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "minContains", "maxContains"),
)
RULES: Final[dict[str, KeywordRule]] = {
    "type": KeywordRule(_types, "a type of JSON's: " + ", ".join(sorted(TYPES))),
    "enum": KeywordRule(_list, "a list of values"),
    "required": KeywordRule(_required, "a list of names"),
    "uniqueItems": KeywordRule(_boolean, "true or false"),
    "multipleOf": KeywordRule(_positive, "a number above 0"),
    **dict.fromkeys(_NUMBERS, KeywordRule(_number, "a number")),
    **dict.fromkeys(_EXCLUSIVE, KeywordRule(_exclusive, "a number")),
    **dict.fromkeys(_COUNTS, KeywordRule(_count, "a whole number from 0 on")),
    "pattern": KeywordRule(_pattern, "a regular expression"),
    "format": KeywordRule(_text, "the name of a format"),
    **dict.fromkeys(("$ref", "$dynamicRef", "$recursiveRef"), KeywordRule(_address, "a reference")),
    **dict.fromkeys(("$id", "id", "$anchor", "$dynamicAnchor"), KeywordRule(_identifier, "a text")),
    **dict.fromkeys(ONE - {"items"}, KeywordRule(_schema, "a schema")),
    **dict.fromkeys(("anyOf", "oneOf"), KeywordRule(_schemas, "a list of schemas")),
    **dict.fromkeys(("allOf", "prefixItems"), KeywordRule(_some_schemas, "a list of schemas")),
    "items": KeywordRule(_items, "a schema"),
    "properties": KeywordRule(_named, "an object of schemas"),
    "dependentSchemas": KeywordRule(_named, "an object of schemas"),
    "patternProperties": KeywordRule(_pattern_properties, "an object of schemas"),
    **dict.fromkeys(("$defs", "definitions"), KeywordRule(_definitions, "an object of schemas")),
    "dependentRequired": KeywordRule(_demands, "an object of lists of names"),
    "dependencies": KeywordRule(_dependencies, "an object of schemas, or of lists of names"),
}
"""Every keyword that restricts; all others are annotations."""
assert RULES.keys() >= ONE | MANY | NAMED
