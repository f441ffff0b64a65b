"""Regular expressions of schemas, searched without the exponential time that Python's engine can take.

llguidance and regex are imported with the first pattern: they would be a third of the start-up time.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from glm_gguf.errors import RequestError
from glm_gguf.schema.ecma_regex import normal_pattern, tokens
from glm_gguf.special_tokens import ASSISTANT, END_OF_TEXT, OBSERVATION, USER

if TYPE_CHECKING:
    import regex
    from llguidance import LLTokenizer

Search = Callable[[str], bool]

MOST_SECONDS = 0.2
"""Limit of one search by backtracking."""
_ASSERTION = re.compile(r"\(\?<?[=!]")
ROLES = (END_OF_TEXT, USER, ASSISTANT, OBSERVATION)


class _Bytes:
    """A vocabulary of single bytes and the role tokens: a grammar walks a text with it."""

    eos_token_id = 256
    bos_token_id = None
    tokens = (*(bytes([value]) for value in range(256)), *(b"\xff" + role.encode() for role in ROLES))
    special_token_ids = tuple(range(256, 256 + len(ROLES)))

    def __call__(self, text: bytes | str) -> list[int]:
        return list(text.encode() if isinstance(text, str) else text)


@lru_cache(maxsize=1)
def byte_tokenizer() -> LLTokenizer:
    """Return the tokenizer of single bytes."""
    from llguidance import LLTokenizer, TokenizerWrapper

    return LLTokenizer(TokenizerWrapper(_Bytes()), slices=[])


@lru_cache(maxsize=1024)
def compiled_search(pattern: str) -> Search:
    """Return the search for a pattern of JSON Schema; RequestError for one that cannot be searched.

    If backtracking takes too long, llguidance's automata search in linear time. They have no look-around and no back
    references: such a pattern then raises RequestError.
    """
    expression = _expression(pattern)
    if expression is None:
        return _automaton_of(pattern)

    def search(text: str) -> bool:
        try:
            return expression.search(text, timeout=MOST_SECONDS) is not None
        except TimeoutError:
            return _automaton_of(pattern)(text)

    return search


def is_sound(pattern: str) -> bool:
    """Tell whether a text is a regular expression."""
    return _expression(pattern) is not None or is_regular(pattern)


@lru_cache(maxsize=4096)
def is_regular(pattern: str) -> bool:
    """Tell whether a grammar can express a pattern: one without look-around and back references."""
    from llguidance import LLMatcher

    return not LLMatcher.validate_grammar(string_grammar({"pattern": pattern}), byte_tokenizer())


def _expression(pattern: str) -> regex.Pattern[str] | None:
    """Compile a pattern for backtracking; None if it is none. ECMA's `$` is the end, not a line break before it."""
    import regex

    written = "".join(r"\Z" if token == "$" else token for token in tokens(normal_pattern(pattern)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # about set operations of later versions
        try:
            return regex.compile(written)
        except (regex.error, RecursionError, OverflowError, ValueError):  # ValueError: a number of thousands of digits
            return None


def without_assertions(pattern: str) -> str:
    """Return a pattern without look-around and word boundaries; it matches at least the same texts."""
    parts = tokens(pattern)
    kept: list[str] = []
    index = 0
    while index < len(parts):
        if parts[index] == "(" and _ASSERTION.match("".join(parts[index : index + 4])):
            index = _group_end(parts, index)
            continue
        if parts[index] not in (r"\b", r"\B"):
            kept.append(parts[index])
        index += 1
    return "".join(kept)


def without_leading_assertions(pattern: str) -> list[str]:
    """Split `^(?=A)(?=B)C` into `^A`, `^B` and `^C`, which together mean the same; return any other pattern alone."""
    parts = tokens(pattern)
    found = []
    start = index = 1
    while parts[:1] == ["^"] and parts[index : index + 3] == ["(", "?", "="]:
        start, index = index, _group_end(parts, index)
        found.append(f"^(?:{''.join(parts[start + 3 : index - 1])})")
    rest = parts[index:]
    return [*found, f"^{''.join(rest)}"] if found and "|" not in _outermost(rest) else [pattern]


def _outermost(parts: list[str]) -> list[str]:
    """Return the tokens that stand in no group."""
    depth, found = 0, []
    for part in parts:
        depth += {"(": 1, ")": -1}.get(part, 0)
        if depth == 0:
            found.append(part)
    return found


def _group_end(parts: list[str], start: int) -> int:
    """Return the index behind the group that opens at `start`."""
    depth = 0
    for index in range(start, len(parts)):
        depth += {"(": 1, ")": -1}.get(parts[index], 0)
        if depth == 0:
            return index + 1
    return len(parts)


def automaton(grammar: str) -> Search:
    """Return the search for texts that a string's grammar accepts, in linear time by llguidance's derivatives."""
    from llguidance import LLMatcher

    error = LLMatcher.validate_grammar(grammar, byte_tokenizer())
    if error:
        raise RequestError(f"it cannot be searched in bounded time: {error[:200]}", fix="give a simpler pattern")

    start = LLMatcher(byte_tokenizer(), grammar, log_level=0)

    def search(text: str) -> bool:
        matcher = start.deep_copy()
        written = list(json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f").encode("utf-8", "replace"))
        taken = matcher.try_consume_tokens(written)
        if matcher.is_error():
            raise RequestError("a pattern takes too long to search", fix="give a simpler pattern")
        return taken == len(written) and matcher.is_accepting()

    return search


@lru_cache(maxsize=1024)
def _automaton_of(pattern: str) -> Search:
    try:
        return automaton(string_grammar({"pattern": normal_pattern(pattern)}))
    except RequestError as error:
        raise RequestError(f"the pattern {pattern[:80]!r} cannot be searched in bounded time", fix=error.fix) from error


def string_grammar(keywords: dict[str, str]) -> str:
    """Return the grammar of a JSON string with a pattern or a format."""
    from llguidance import LLMatcher

    return LLMatcher.grammar_from_json_schema(json.dumps({"type": "string", **keywords}))
