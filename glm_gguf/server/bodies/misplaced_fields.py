"""Fields in the spelling of another client, or in an object where nothing reads them: refused, with what to write.

`maxTokens` is `max_tokens`; `extra_body` is a word of OpenAI's Python client, whose fields belong beside the messages.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, get_args

from pydantic import BaseModel

from glm_gguf.server.bodies.known_fields import KNOWN_FIELDS, RefusedField, WithoutEffect, asks_for_nothing

NO_WISHES: Final = frozenset(("model", "stream", "stream_options"))
"""Fields of ours that say nothing of an answer: where another object has them, they are its own."""
HOLDERS: Final = frozenset(("extra_body",))
"""Known objects that hold fields of requests; any that nobody knows may."""

_REFUSED: Final = frozenset(name for name, field in KNOWN_FIELDS.items() if isinstance(field, RefusedField))

Objects = Mapping[str, frozenset[str]]
"""Fields that are objects, with the names in each."""


def declared_objects(model: type[BaseModel]) -> Objects:
    """Return the fields of a body that are objects and whose names are all declared."""
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
    """Return the place of the first field that is misspelled or misplaced, and what to do; None where none is."""
    return next(_misplaced(body, declared, objects or {}), None)


def unread_inside(body: Mapping[str, Any], objects: Objects) -> list[str]:
    """Return the places of what the objects of a body hold and nothing reads."""
    return [
        f"{name}.{key}"
        for name, known in objects.items()
        if isinstance(body.get(name), dict)
        for key, value in body[name].items()
        if key not in known and not asks_for_nothing(value)
    ]


def wished(name: str, value: Any, declared: Collection[str]) -> str | None:
    """Return the field of ours that a name means, in any spelling, where its value asks for something."""
    names = [name] if name in declared or name in KNOWN_FIELDS else _spelled(name, declared)
    for meant in names:
        if meant in NO_WISHES:
            continue
        known = None if meant in declared else KNOWN_FIELDS.get(meant)
        off = known.off if isinstance(known, RefusedField) else (True,) if meant in declared else ()
        if (meant in declared or isinstance(known, RefusedField)) and not _is_off(value, off, meant in declared):
            return meant
    return None


def _misplaced(body: Mapping[str, Any], declared: Collection[str], objects: Objects) -> Iterator[tuple[str, str]]:
    for name, value in body.items():
        if name in declared:
            yield from _inside(name, value, objects[name], declared) if name in objects else ()
            continue
        known = KNOWN_FIELDS.get(name)
        if known is None and (meant := wished(name, value, declared)) is not None:
            yield name, _advice(meant, declared)
        if name in HOLDERS or known is None:
            yield from _inside(name, value, (), declared)


def _inside(name: str, value: Any, own: Collection[str], declared: Collection[str]) -> Iterator[tuple[str, str]]:
    """Find fields in an object: of its own in another spelling, or of the request."""
    for key, inner in value.items() if isinstance(value, dict) else ():
        if key in own:
            continue
        siblings = [one for one in _spelled(key, own) if one in own]
        if siblings and inner is not None:
            yield f"{name}.{key}", f"its name is `{min(siblings)}` here"
        elif (meant := wished(key, inner, declared)) is not None:
            beside = f"give `{meant}` at the top of the request" if meant in declared else _advice(meant, declared)
            yield f"{name}.{key}", beside


def _advice(meant: str, declared: Collection[str]) -> str:
    known = KNOWN_FIELDS.get(meant)
    if meant in declared or known is None or isinstance(known, WithoutEffect):
        return f"its name is `{meant}` here"
    return f"{known.why}; leave it out"


def _is_off(value: Any, off: Collection[Any], declared: bool) -> bool:
    """Tell a value that asks for nothing; of a field that is read, any value but null and what is empty asks."""
    return value is None or value in ("", [], {}) if declared else asks_for_nothing(value, off)


def _spelled(name: str, declared: Collection[str]) -> Collection[str]:
    """Return the names that another is but for capitals, hyphens and underscores; those of the request first."""
    bare = _bare(name)
    return _by_spelling(frozenset(declared)).get(bare) or _by_spelling(_REFUSED).get(bare, ())


@lru_cache(maxsize=64)
def _by_spelling(names: frozenset[str]) -> Mapping[str, Collection[str]]:
    """Look names up by what is left of them; bodies may hold very many fields."""
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        found.setdefault(_bare(name), []).append(name)
    return found


def _bare(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def _is_closed(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel) and kind.model_config.get("extra") != "allow"
