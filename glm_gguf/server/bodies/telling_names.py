"""Decide on unknown fields whose names tell what they request: a thought switched off or limited, a form of the answer.

Servers and clients have many names for both (`thinking_enabled`, `response_schema`). Who sends one relies on it.
"""

from __future__ import annotations

from typing import Any, Final

from glm_gguf.misspelled_names import words_of
from glm_gguf.server.bodies.field_decisions import RefusedField, asks_for_nothing

_THOUGHTS: Final = frozenset({"think", "thinking", "thought", "thoughts", "reasoning", "cot"})
_ON: Final = frozenset({"enable", "enabled", "use", "allow", "on", "mode", "level", "effort", "return", "show"})
_LENGTHS: Final = frozenset({"max", "budget", "tokens", "limit"})
_AGAINST: Final = frozenset({"disable", "disabled", "no", "off", "skip", "without", "hide"})
_FORMS: Final = frozenset({"schema", "grammar", "gbnf", "ebnf", "lark", "regex", "regexp"})
_NO_ANSWER: Final = frozenset({"input", "tool"})
"""First words of forms that no answer has."""
_GUIDED: Final = frozenset({"guided", "constrained"})

_OWN: Final = "give this API's own field for it"
_SWITCH: Final = RefusedField("others", _OWN, (True, -1, "auto", "on", "enabled"))
_AGAINST_IT: Final = RefusedField("others", _OWN)
_FORM: Final = RefusedField("others", "give this API's own field for the form of the answer")


def told_wish(name: str, value: Any) -> RefusedField | None:
    """Return the decision on an unknown field that requests a thought or a form of the answer by its name."""
    words = words_of(name)
    if not words:
        return None
    field = None
    if _THOUGHTS.intersection(words):
        told = _AGAINST.intersection(words)
        field = _AGAINST_IT if told else _SWITCH if (_ON | _LENGTHS).intersection(words) else None
    elif (words[-1] in _FORMS and words[0] not in _NO_ANSWER) or words[0] in _GUIDED:
        field = _FORM
    return None if field is None or asks_for_nothing(value, field.off) else field
