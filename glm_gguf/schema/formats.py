r"""The enforced formats of JSON Schema: nine that llguidance's grammars know, and others as patterns.

The check of a finished value uses the same grammars and patterns, so that both agree on every machine. All other
formats are annotations, as in the standard.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from glm_gguf.schema.pattern_search import Search, automaton, compiled_search, is_sound, string_grammar

IN_GRAMMARS: Final = frozenset(("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "uuid", "uri"))
"""Formats that llguidance's grammars enforce (docs/json_schema.md of that project)."""
_LEAP_YEARS: Final = r"(\d\d(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)"
_DAY: Final = rf"(\d{{4}}-(0[13-9]|1[0-2])-\d\d|\d{{4}}-02-([01]\d|2[0-8])|{_LEAP_YEARS}-02-29)"
_CLOCK: Final = r"(\d\d:\d\d:[0-5]\d|23:59:60(\.\d+)?[Zz]$)"
_POINTER: Final = r"(/([^~/]|~[01])*)*"
_LETTERS: Final = r"\u00A0-\uD7FF\uF900-\uFDCF\uFDF0-\uFFEF\U00010000-\U0001FFFD\U00020000-\U0002FFFD"
"""Characters that RFC 3987 adds to RFC 3986, up to plane 2."""
_GROUP: Final = "[0-9A-Fa-f]{1,4}"
_BYTE: Final = r"(\d|[1-9]\d|1\d\d|2[0-4]\d|25[0-5])"
_LAST_GROUPS: Final = rf"({_GROUP}:{_GROUP}|{_BYTE}(\.{_BYTE}){{3}})"
_BEFORE_THE_GAP: Final = tuple(rf"(({_GROUP}:){{0,{most}}}{_GROUP})?::" for most in range(7))
_IP_V6: Final = "|".join(
    (
        f"(({_GROUP}:){{6}}{_LAST_GROUPS}",
        f"::({_GROUP}:){{5}}{_LAST_GROUPS}",
        *(f"{_BEFORE_THE_GAP[most]}({_GROUP}:){{{4 - most}}}{_LAST_GROUPS}" for most in range(5)),
        f"{_BEFORE_THE_GAP[5]}{_GROUP}",
        f"{_BEFORE_THE_GAP[6]})",
    )
)
"""IPv6address of RFC 3986; its last two groups may be an IPv4 address."""
_VARIABLE: Final = r"([A-Za-z0-9_]|%[0-9A-Fa-f]{2})+(\.([A-Za-z0-9_]|%[0-9A-Fa-f]{2})+)*(:[1-9]\d{0,3}|\*)?"


def _references(letters: str) -> tuple[str, str]:
    """Return the patterns of addresses and of references (RFC 3986), with more letters than ASCII has."""
    name = rf"[A-Za-z0-9._~!$&'()*+,;={letters}-]|%[0-9A-Fa-f]{{2}}"
    step = f"({name}|[:@])"
    host = rf"//(({name}|:)*@)?(\[{_IP_V6}\]|({name})*)(:\d*)?(/{step}*)*"
    path, tail = f"(/{step}*)*", rf"(\?({step}|[/?])*)?(#({step}|[/?])*)?$"
    absolute = f"[A-Za-z][A-Za-z0-9+.-]*:({host}|/({step}+{path})?|{step}+{path}|)"
    relative = f"({host}|/({step}+{path})?|({name}|@)+{path}|)"
    return f"^{absolute}{tail}", f"^({absolute}|{relative}){tail}"


_IRI, _IRI_REFERENCE = _references(_LETTERS)
_, _URI_REFERENCE = _references("")
PATTERNS: Final = {
    "date": f"^{_DAY}$",
    "time": f"^{_CLOCK}",
    "date-time": f"^{_DAY}[Tt]{_CLOCK}",
    "ipv6": f"^{_IP_V6}$",
    "json-pointer": f"^{_POINTER}$",
    "relative-json-pointer": f"^(0|[1-9][0-9]*)(#|{_POINTER})$",
    "uri-reference": _URI_REFERENCE,
    "iri": _IRI,
    "iri-reference": _IRI_REFERENCE,
    "uri-template": (
        rf"^([!#$&()*+,./:;=?@\[\]_~A-Za-z0-9{_LETTERS}-]|%[0-9A-Fa-f]{{2}}|"
        rf"\{{[+#./;?&=,!@|]?{_VARIABLE}(,{_VARIABLE})*\}})*$"
    ),
    "idn-email": r"^[^@]+@[^@\s]+$",
}
"""Format → pattern; those of dates and times refuse days and seconds that do not exist."""
CHECKED: Final = frozenset(("regex",))
"""Formats that only the check of a finished value enforces."""


@lru_cache(maxsize=4096)
def fits_format(name: str, text: str) -> bool:
    """Tell whether a text has a format; every text has a format that is an annotation."""
    if name == "regex":
        return is_sound(text)
    return all(search(text) for search in _searches(name))


@lru_cache(maxsize=64)
def _searches(name: str) -> tuple[Search, ...]:
    by_grammar = (automaton(string_grammar({"format": name})),) if name in IN_GRAMMARS else ()
    return (*by_grammar, compiled_search(PATTERNS[name])) if name in PATTERNS else by_grammar
