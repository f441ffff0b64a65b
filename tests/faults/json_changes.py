"""Changes to the JSON in an input: values and keys, where changed bytes would nearly always end in the JSON parser."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from glm_gguf.special_tokens import CONTROL_TOKENS

START: Final = re.compile(rb"(?:\A|\n|\0\0\0\0BODY)[^\n{\[]{0,9}([{\[])")
"""Where JSON may begin: in the first bytes of an input, of a line, or of a part."""
LITERAL: Final = "\x01"
"""Begins a text of the tree that is written as it is: numbers keep their spelling, and nesting may be absurd."""
AGAIN: Final = "\x02"
"""Ends a key that is written without it: the object has that key twice."""
WRITTEN: Final = re.compile(r'"\\u0001([^"]*)"|\\u0002')

NUMBERS: Final = tuple(
    LITERAL + text
    for text in (
        *("0", "-0", "-1", "1", "2", "3", "7", "100", "0.5", "-0.5", "0.1", "1.0", "1e3", "1E-7", "1e999", "-1e999"),
        *("1e308", "1e-400", "NaN", "-Infinity", "65536", "2147483647", "2147483648", "-2147483649", "4294967296"),
        *("9007199254740993", "9223372036854775807", "9223372036854775808", "18446744073709551616", "1" + "0" * 400),
        *("9" * 4400, "0." + "0" * 400 + "1"),
    )
)
NESTED: Final = tuple(
    LITERAL + text
    for text in ("[" * 60 + "]" * 60, "[" * 3000 + "]" * 3000, "[" * 3000, "[{" * 200, "[0" + ",0" * 2000 + "]")
)
CONSTANTS: Final = (None, True, False, "", [], {}, [None], [[]], {"": ""}, [""], [{}], [True, LITERAL + "1", "a"])
TEXTS: Final = (
    *CONTROL_TOKENS,
    *("<think>", "</think>", "<think>\n\n</think>\n", "<tool_call>", "{{ x }}", "{%", "\n", " ", "\n\n", "f\n{", "```"),
    *("a", "x" * 300, "\0", "\ud800", "\udc00\ud800", "\U0001f600", "\u200b", "\ufeff", "\u2028", "é", "ß"),
    *("0", "-1", "1e999", "null", "true", "auto", "none", "{}", "[]", '{"a": 1}', '{"a": "', "[1, ]", '"', "\\", "'"),
    *("^a+$", "(a|b)*", "(a+)+$", r"\d{1,3}", r"^\p{L}+$", "(?<=a)b", "(?i)x", "[", "(", "a{1000}", r"\1", "[^]", "$^"),
    *("#", "#/", "#/$defs/a", "#/properties/a", "#/items", "http://a/b", "file:///etc/passwd", "data:,a", "../..", "/"),
    *("data:image/png;base64,AAAA", "2020-02-30", "2020-01-01T00:00:00Z", "a@b.c", "::1", "P1D", "root ::= root"),
    *("root ::= [", 'root ::= "a"{0,9}', "date-time", "uuid", "json", "json_object", "İ", "Ⅷ", "１"),
)
"""What text may break or choose: tokens, templates, halves of pairs, regular expressions, references, grammars."""
MOST_PLACES: Final = 3000
"""Places of a tree that are found for a change."""

Place = tuple[Any, Any]
"""A list and an index in it, or an object and a key."""


@dataclass(frozen=True, slots=True)
class KnownJson:
    """What the JSON of one target may hold."""

    words: tuple[str, ...]
    """Names and values that the code knows."""
    fields: tuple[tuple[str, Any], ...]
    """Declared fields: the name, and the JSON schema of its value."""
    schemas: dict[str, Any]
    """Name → schema that others refer to."""
    values: tuple[Any, ...]
    """All values of the seeds."""


class JsonChanges:
    """Changes inputs whose JSON is known; a number decides all."""

    def __init__(self, known: KnownJson) -> None:
        self._known = known
        self._schemas = dict(known.fields)

    def changed(self, data: bytes, number: int) -> bytes | None:
        """Change one to six things in a piece of JSON; None if there is none."""
        random = Random(number)
        found = _piece(data, random)
        if found is None:
            return None
        start, root, rest = found
        for _ in range(random.choice((1, 1, 1, 2, 2, 3, 4, 6))):
            random.choice(CHANGES)(self, root, random)
        return _joined(data[:start], root[0], rest, random)

    def crossed(self, data: bytes, other: bytes, number: int) -> bytes | None:
        """Put a value of another input in the place of one; None if one of them has no JSON."""
        random = Random(number)
        found, given = _piece(data, random), _piece(other, random)
        if found is None or given is None:
            return None
        start, root, rest = found
        (into, at), (source, key) = self._place(root, random), random.choice(list(_places(given[1])))
        into[at] = source[key]
        return _joined(data[:start], root[0], rest, random)

    def value(self, random: Random) -> Any:
        """Return any value: of a seed, a text, a number, a constant, at times absurd nesting."""
        kind = random.random()
        if kind < 0.35 and self._known.values:
            return _copied(random.choice(self._known.values))
        if kind < 0.6:
            return self._text(random)
        if kind < 0.98:
            return _copied(random.choice(NUMBERS if kind < 0.8 else CONSTANTS))
        return random.choice(NESTED)

    def fitting(self, schema: Any, random: Random, depth: int = 4) -> Any:
        """Return a value that a JSON schema mostly allows."""
        while isinstance(schema, dict) and ("$ref" in schema or "anyOf" in schema):
            name = schema.get("$ref", "").rsplit("/", 1)[-1]
            schema = self._known.schemas.get(name) if name else random.choice(schema["anyOf"])
        if not isinstance(schema, dict) or not depth or random.random() < 0.05:
            return self.value(random)
        if "const" in schema or "enum" in schema:
            return random.choice(schema.get("enum", [schema.get("const")]))
        match schema.get("type"):
            case "object" if schema.get("properties"):
                share = min(0.3, 2 / len(schema["properties"]))
                chosen = {name for name in schema["properties"] if random.random() < share}
                names = sorted(chosen.union(schema.get("required", ())))
                return {name: self.fitting(schema["properties"].get(name), random, depth - 1) for name in names}
            case "array":
                count = random.choice((0, 1, 1, 2, 3))
                return [self.fitting(schema.get("items"), random, depth - 1) for _ in range(count)]
            case "string":
                return self._text(random)
            case "integer" | "number":
                return random.choice(NUMBERS)
            case "boolean":
                return random.random() < 0.5
            case "null":
                return None
        return self.value(random)

    def _text(self, random: Random) -> str:
        return random.choice(self._known.words if self._known.words and random.random() < 0.5 else TEXTS)

    def _place(self, root: list[Any], random: Random) -> Place:
        return random.choice(list(_places(root)))

    def replace(self, root: list[Any], random: Random) -> None:
        """Put any value in the place of one."""
        into, at = self._place(root, random)
        into[at] = self.value(random)

    def retype(self, root: list[Any], random: Random) -> None:
        """Put a value that the field of that name may have in its place."""
        into, at = self._place(root, random)
        into[at] = self.fitting(self._schemas.get(at) if isinstance(at, str) else None, random)

    def drop(self, root: list[Any], random: Random) -> None:
        """Leave a value out."""
        into, at = self._place(root, random)
        if into is not root:
            del into[at]

    def double(self, root: list[Any], random: Random) -> None:
        """Repeat an item of a list, at times often; give a key of an object twice."""
        into, at = self._place(root, random)
        if isinstance(into, dict):
            into[at + AGAIN] = self.value(random)
        elif into is not root:
            into[at:at] = [_copied(into[at]) for _ in range(random.choice((1, 1, 2, 9, 30)))]

    def swap(self, root: list[Any], random: Random) -> None:
        """Exchange two values, or put a copy of one in the place of another."""
        (into, at), (source, key) = self._place(root, random), self._place(root, random)
        kept = _copied(into[at])
        into[at] = _copied(source[key])
        if random.random() < 0.5 and _holds(source, key):
            source[key] = kept

    def rename(self, root: list[Any], random: Random) -> None:
        """Give a key another name: a known one, or its own in another spelling."""
        into, at = self._place(root, random)
        if isinstance(into, dict):
            spellings = (at.upper(), at.title().replace("_", ""), at + " ", at[:-1], at.replace("_", "-"))
            into[random.choice((*spellings, self._text(random), self._text(random)))] = into.pop(at)

    def insert(self, root: list[Any], random: Random) -> None:
        """Add a declared field, or a known word with any value, to an object; any value to a list."""
        inside = [value for into, at in _places(root) if isinstance(value := into[at], dict | list)]
        if not inside:
            return
        into = random.choice(inside)
        if isinstance(into, list):
            into.insert(random.randint(0, len(into)), self.value(random))
        elif self._known.fields and random.random() < 0.7:
            name, schema = random.choice(self._known.fields)
            into[name] = self.fitting(schema, random)
        else:
            into[self._text(random)] = self.value(random)

    def wrap(self, root: list[Any], random: Random) -> None:
        """Put a value into a list or an object, or what it holds in its place."""
        into, at = self._place(root, random)
        value = into[at]
        if isinstance(value, dict | list) and value and random.random() < 0.5:
            into[at] = next(iter(value.values() if isinstance(value, dict) else value))
        else:
            into[at] = random.choice(([value], {self._text(random): value}, [value, _copied(value)], [[[value]]]))

    def write(self, root: list[Any], random: Random) -> None:
        """Change a text: in the JSON that it holds, or by a text put into it, before it, or for its end."""
        texts = [(into, at) for into, at in _places(root) if isinstance(into[at], str) and into[at][:1] != LITERAL]
        if not texts:
            return
        into, at = random.choice(texts)
        text = into[at]
        within = self.changed(text.encode("utf-8", "replace"), random.getrandbits(32)) if text[:1] in "{[" else None
        cut = random.randint(0, len(text))
        new = within.decode("utf-8", "replace") if within is not None else self._text(random)
        into[at] = random.choice((new, text[:cut] + new + text[cut:], new + text, text[:cut], text[:1000] * 3))

    def count(self, root: list[Any], random: Random) -> None:
        """Put another number in the place of one."""
        numbers = [(into, at) for into, at in _places(root) if isinstance(into[at], str) and into[at][:1] == LITERAL]
        if numbers:
            into, at = random.choice(numbers)
            near = (into[at] + "0", into[at] + ".5", into[at] + "e3", LITERAL + "-" + into[at][1:].lstrip("-"))
            into[at] = random.choice((*near, random.choice(NUMBERS), LITERAL + str(random.randint(0, 300))))


CHANGES: Final[tuple[Callable[[JsonChanges, list[Any], Random], None], ...]] = (
    *(JsonChanges.replace, JsonChanges.retype, JsonChanges.drop, JsonChanges.double, JsonChanges.swap),
    *(JsonChanges.rename, JsonChanges.insert, JsonChanges.insert, JsonChanges.wrap, JsonChanges.write),
    *(JsonChanges.write, JsonChanges.count),
)


def values_in(data: bytes) -> Iterator[Any]:
    """Yield all values of all JSON in an input."""
    for match in START.finditer(data):
        found = _read(data, match.start(1))
        if found is not None:
            yield from (into[at] for into, at in _places(found[1]))


def _piece(data: bytes, random: Random) -> tuple[int, list[Any], bytes] | None:
    """Return one piece of JSON: where it begins, a list that holds it, and what follows; None if there is none."""
    starts = [match.start(1) for match in START.finditer(data)]
    return _read(data, random.choice(starts)) if starts else None


def _read(data: bytes, start: int) -> tuple[int, list[Any], bytes] | None:
    text = data[start:].decode("utf-8", "surrogateescape")
    try:
        value, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return start, [value], text[end:].encode("utf-8", "surrogateescape")


def _literal(text: str) -> str:
    return LITERAL + text


_DECODER: Final = json.JSONDecoder(parse_float=_literal, parse_int=_literal, parse_constant=_literal)


def _joined(before: bytes, value: Any, rest: bytes, random: Random) -> bytes | None:
    """Write a changed value between what stood around it."""
    ascii_only = random.random() < 0.8
    try:
        text = json.dumps(value, ensure_ascii=ascii_only)
    except (ValueError, RecursionError):
        return None
    text = WRITTEN.sub(lambda found: found[1] or "", text)
    return before + text.encode("utf-8", "surrogatepass") + rest


def _places(root: list[Any]) -> Iterator[Place]:
    """Yield places of a tree, those near its root first."""
    level: list[Any] = [root]
    left = MOST_PLACES
    while level and left > 0:
        places = [(into, at) for into in level for at in (into if isinstance(into, dict) else range(len(into)))][:left]
        left -= len(places)
        yield from places
        level = [value for into, at in places if isinstance(value := into[at], dict | list)]


def _holds(into: Any, at: Any) -> bool:
    return at in into if isinstance(into, dict) else at < len(into)


def _copied(value: Any) -> Any:
    """Copy a value, so that a change of the copy leaves it as it is."""
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list) else value
