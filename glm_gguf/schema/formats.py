r"""The formats of JSON Schema that are enforced: ten that llguidance's grammars know, and others as patterns.

A check of a finished value uses the same grammars and patterns, so that both say the same on every machine. All other
formats are annotations, as the standard has it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from glm_gguf.schema.patterns import Search, automaton, compiled_search, is_sound, string_grammar

IN_GRAMMARS: Final = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri")
)
"""Formats that llguidance's grammars enforce (docs/json_schema.md of that project)."""
_LEAP_YEARS: Final = r"(\d\d(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)"
_DAYS: Final = rf"^(\d{{4}}-(0[13-9]|1[0-2])-|\d{{4}}-02-([01]\d|2[0-8])|{_LEAP_YEARS}-02-29)"
_POINTER: Final = r"(/([^~/]|~[01])*)*"
_SCHEME: Final = r"[A-Za-z][A-Za-z0-9+.-]*:"
_URI_CHARACTER: Final = r"([A-Za-z0-9._~:/?@!$&'()*+,;=\[\]-]|%[0-9A-Fa-f]{2})"
_IRI_CHARACTER: Final = r'[^\x00-\x20"<>\\^`{|}#\x7f]'
_VARIABLE: Final = r"([A-Za-z0-9_.]|%[0-9A-Fa-f]{2})+(:[1-9]\d{0,3}|\*)?"
PATTERNS: Final = {
    "date": _DAYS,
    "date-time": _DAYS,
    "json-pointer": f"^{_POINTER}$",
    "relative-json-pointer": f"^(0|[1-9][0-9]*)(#|{_POINTER})$",
    "uri-reference": f"^{_URI_CHARACTER}*(#{_URI_CHARACTER}*)?$",
    "iri": f"^{_SCHEME}{_IRI_CHARACTER}*(#{_IRI_CHARACTER}*)?$",
    "iri-reference": f"^{_IRI_CHARACTER}*(#{_IRI_CHARACTER}*)?$",
    "uri-template": rf"^([^\x00-\x20\"'<>\\^`{{|}}]|\{{[+#./;?&=,!@|]?{_VARIABLE}(,{_VARIABLE})*\}})*$",
    "idn-email": r"^[^@]+@[^@\s]+$",
}
"""What a pattern says of a format; of dates, that no February has too many days, which llguidance lets pass."""
CHECKED: Final = frozenset(("regex",))
"""Formats that only a check of the finished value knows."""
ENFORCED: Final = IN_GRAMMARS | frozenset(PATTERNS) | CHECKED


@lru_cache(maxsize=4096)
def fits_format(name: str, text: str) -> bool:
    """Tell whether a text has a format; any has one that is an annotation."""
    if name == "regex":
        return is_sound(text)
    return all(search(text) for search in _searches(name))


@lru_cache(maxsize=64)
def _searches(name: str) -> tuple[Search, ...]:
    by_grammar = (automaton(string_grammar({"format": name})),) if name in IN_GRAMMARS else ()
    return (*by_grammar, compiled_search(PATTERNS[name])) if name in PATTERNS else by_grammar
