"""Misspelled and misplaced fields: refused with the right name or place.

`temprature` is `temperature`; `maxTokens` is `max_tokens`. `extra_body` is a word of OpenAI's Python client, whose
fields belong beside the messages.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, get_args

from pydantic import BaseModel

from glm_gguf.misspelled_names import LONG_NAME, meant_name
from glm_gguf.server.bodies.field_decisions import (
    IgnoredField,
    NoEffect,
    RefusedField,
    asks_by_presence,
    asks_for_nothing,
)
from glm_gguf.server.bodies.known_fields import KNOWN_FIELDS
from glm_gguf.server.bodies.telling_names import told_wish
from glm_gguf.server.problem import Problem, Refused

NEVER_MISPLACED: Final = frozenset(("model", "stream", "stream_options"))
"""Fields that do not affect the answer; inside another object they are its own keys."""
WRAPPERS: Final = frozenset(("extra_body",))
"""Known objects that wrap fields of requests; unknown ones may too."""

MESSAGE_KEYS: Final = frozenset(("role", "content", "tool_calls", "tool_call_id", "function_call"))
"""Keys of a message in OpenAI's form that change its prompt."""

MOST_COMPARED: Final = 32
"""Unknown names of a request that are compared with all known ones, which takes 0.1 ms each."""

_REFUSED: Final = frozenset(name for name, field in KNOWN_FIELDS.items() if isinstance(field, RefusedField))
_LONG_REFUSED: Final = frozenset(name for name in _REFUSED if len(name) > LONG_NAME)
"""Shorter ones resemble too many names of extensions."""

Objects = Mapping[str, frozenset[str]]
"""Field that is an object → its keys."""


def declared_objects(model: type[BaseModel]) -> Objects:
    """Return the fields of a body that are objects with declared keys only."""
    found = {}
    for name, field in model.model_fields.items():
        kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if _is_closed(kind)]
        if kinds:
            found[field.alias or name] = frozenset(
                inner.alias or key for kind in kinds for key, inner in kind.model_fields.items()
            )
    return found


def misplaced_field(
    body: Mapping[str, Any], declared: Collection[str], objects: Objects | None = None
) -> tuple[str, str] | None:
    """Return the path of the first misspelled or misplaced field, and the advice; None if there is none."""
    return next(_misplaced(body, declared, objects or {}), None)


def require_spelled_messages(messages: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a message with a misspelled key, such as `toolCalls`: the prompt would lack its value."""
    compared = 0
    for index, message in enumerate(messages):
        for key, value in message.items():
            if key in MESSAGE_KEYS or value in (None, "", [], {}):
                continue
            compared += 1
            near = meant_name(key, MESSAGE_KEYS) if compared <= MOST_COMPARED else None
            for meant in _by_spelling(MESSAGE_KEYS).get(_bare(key)) or ([near] if near else ()):
                place = f"messages[{index}].{key}"
                raise Refused(Problem(400, f"{place}: its name is `{meant}` here.", param=place, as_sent=True))


def unknown_keys(body: Mapping[str, Any], objects: Objects) -> list[str]:
    """Return the paths of unknown keys in the objects of a body; a refused name that is there requests nothing."""
    return [
        f"{name}.{key}"
        for name, known in objects.items()
        if isinstance(body.get(name), dict)
        for key, value in body[name].items()
        if key not in known and key not in _REFUSED and not asks_for_nothing(value)
    ]


def meant_field(name: str, value: Any, declared: Collection[str]) -> str | None:
    """Return the known field that a name means, in any spelling, if its value requests something."""
    names = [name] if name in declared or name in KNOWN_FIELDS else _spelled(name, declared)
    for meant in names:
        if meant in NEVER_MISPLACED:
            continue
        known = None if meant in declared else KNOWN_FIELDS.get(meant)
        off = known.off if isinstance(known, RefusedField) else (True,) if meant in declared else ()
        if (meant in declared or isinstance(known, RefusedField)) and not _is_off(meant, value, off, meant in declared):
            return meant
    return None


def _misplaced(body: Mapping[str, Any], declared: Collection[str], objects: Objects) -> Iterator[tuple[str, str]]:
    compared = 0
    for name, value in body.items():
        if name in declared:
            yield from _inside(name, value, objects[name], declared) if name in objects else ()
            continue
        known = KNOWN_FIELDS.get(name)
        if known is None and (meant := meant_field(name, value, declared)) is not None:
            yield name, _advice(meant, declared)
        elif known is None and compared < MOST_COMPARED:
            compared += 1
            yield from _resembling(name, value, declared)
            told = told_wish(name, value)
            yield from () if told is None else [(name, advice(told))]
        if name in WRAPPERS or known is None:
            yield from _inside(name, value, (), declared)


def _resembling(name: str, value: Any, declared: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield an unknown field whose name is nearly that of a declared field, or of a refused one."""
    meant = meant_name(name, frozenset(declared) - {"model"})  # `mode` may be anything
    if meant is not None:
        if not _is_off(meant, value, (), declared=True):
            yield name, f"its name is `{meant}` here"
    elif (meant := meant_name(name, _LONG_REFUSED, most=1)) is not None:
        field = KNOWN_FIELDS[meant]
        if isinstance(field, RefusedField) and not asks_for_nothing(value, field.off):
            yield name, f"it resembles `{meant}`; {advice(field)}"


def _inside(name: str, value: Any, own: Collection[str], declared: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield misspelled keys of an object, and fields of the request inside it."""
    compared = 0
    for key, inner in value.items() if isinstance(value, dict) else ():
        if key in own:
            continue
        siblings = [one for one in _spelled(key, own) if one in own]
        if not siblings and own and key not in KNOWN_FIELDS and compared < MOST_COMPARED:
            compared += 1
            siblings = [near for near in [meant_name(key, own)] if near]
        if siblings and inner is not None:
            yield f"{name}.{key}", f"its name is `{min(siblings)}` here"
        elif (meant := meant_field(key, inner, declared)) is not None:
            beside = f"give `{meant}` at the top of the request" if meant in declared else _advice(meant, declared)
            yield f"{name}.{key}", beside


def _advice(meant: str, declared: Collection[str]) -> str:
    known = KNOWN_FIELDS.get(meant)
    if meant in declared or known is None or isinstance(known, NoEffect):
        return f"its name is `{meant}` here"
    return known.why if isinstance(known, IgnoredField) else advice(known)


def advice(field: RefusedField) -> str:
    """Return why a field is refused, with one advice: its own, or to leave it out."""
    return field.why if "; " in field.why or field.why.startswith("give ") else f"{field.why}; leave it out"


def _is_off(name: str, value: Any, off: Collection[Any], declared: bool) -> bool:
    """Return whether a value requests nothing; for a declared field, only null and empty values do."""
    if asks_by_presence(name, value):
        return False
    return value is None or value in ("", [], {}) if declared else asks_for_nothing(value, off)


def _spelled(name: str, declared: Collection[str]) -> Collection[str]:
    """Return the known names that differ only in case, hyphens and underscores; declared ones first."""
    bare = _bare(name)
    return _by_spelling(frozenset(declared)).get(bare) or _by_spelling(_REFUSED).get(bare, ())


@lru_cache(maxsize=64)
def _by_spelling(names: frozenset[str]) -> Mapping[str, Collection[str]]:
    """Index names by their bare spelling, since a body may hold very many fields."""
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        found.setdefault(_bare(name), []).append(name)
    return found


def _bare(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def _is_closed(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel) and kind.model_config.get("extra") != "allow"
