"""Regular expressions of schemas, searched without the exponential time that Python's engine can take."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache

from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper

from glm_gguf.errors import RequestError
from glm_gguf.special_tokens import ASSISTANT, END_OF_TEXT, OBSERVATION, USER

Search = Callable[[str], bool]

_ASSERTION = re.compile(r"\(\?<?[=!]")
ROLES = (END_OF_TEXT, USER, ASSISTANT, OBSERVATION)


class _Bytes:
    """A vocabulary of single bytes and the role tokens: the one with which a grammar walks a text."""

    eos_token_id = 256
    bos_token_id = None
    tokens = (*(bytes([value]) for value in range(256)), *(b"\xff" + role.encode() for role in ROLES))
    special_token_ids = tuple(range(256, 256 + len(ROLES)))

    def __call__(self, text: bytes | str) -> list[int]:
        return list(text.encode() if isinstance(text, str) else text)


@lru_cache(maxsize=1)
def byte_tokenizer() -> LLTokenizer:
    """Return the tokenizer of single bytes."""
    return LLTokenizer(TokenizerWrapper(_Bytes()), slices=[])


@lru_cache(maxsize=1024)
def compiled_search(pattern: str) -> Search:
    """Return the search for a pattern of JSON Schema; RequestError for one that cannot be searched safely."""
    if not backtracks(pattern):
        try:
            expression = re.compile(pattern)
        except (re.error, RecursionError, OverflowError):
            pass
        else:
            return lambda text: expression.search(text) is not None
    return _automaton(pattern)


def is_regular(pattern: str) -> bool:
    """Tell whether a grammar can express a pattern: no look-around, no back references."""
    return not LLMatcher.validate_grammar(_grammar(pattern), byte_tokenizer())


def without_assertions(pattern: str) -> str:
    """Return a pattern without look-around and word boundaries: it matches what the pattern does, and more."""
    kept: list[str] = []
    index = 0
    while index < len(pattern):
        end = _token_end(pattern, index)
        if _ASSERTION.match(pattern, index):
            end = _group_end(pattern, index)
        elif pattern[index:end] not in (r"\b", r"\B"):
            kept.append(pattern[index:end])
        index = end
    return "".join(kept)


def _token_end(pattern: str, index: int) -> int:
    """Return the index behind an escape, a character class or a character."""
    if pattern[index] == "\\":
        return index + 2
    return _class_end(pattern, index) + 1 if pattern[index] == "[" else index + 1


def _group_end(pattern: str, start: int) -> int:
    """Return the index behind the group that opens at `start`."""
    depth, index = 0, start
    while index < len(pattern):
        depth += {"(": 1, ")": -1}.get(pattern[index], 0)
        index = _token_end(pattern, index)
        if depth == 0:
            return index
    return index


def _automaton(pattern: str) -> Search:
    """Return a search in linear time by llguidance's derivatives."""
    grammar = _grammar(pattern)
    if LLMatcher.validate_grammar(grammar, byte_tokenizer()):
        raise RequestError(f"the pattern {pattern[:80]!r} cannot be searched safely", fix="give a simpler pattern")

    def search(text: str) -> bool:
        matcher = LLMatcher(byte_tokenizer(), grammar, log_level=0)
        written = list(json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f").encode())
        taken = matcher.try_consume_tokens(written)
        if matcher.is_error():
            raise RequestError(f"the pattern {pattern[:80]!r} takes too long to search", fix="give a simpler pattern")
        return taken == len(written) and matcher.is_accepting()

    return search


@lru_cache(maxsize=1024)
def _grammar(pattern: str) -> str:
    return LLMatcher.grammar_from_json_schema({"type": "string", "pattern": pattern})


def backtracks(pattern: str) -> bool:
    """Tell whether Python's engine may take exponential time: a repeated group that itself repeats or branches."""
    varied: list[bool] = [False]  # for each open group: something in it repeats or branches
    index = 0
    while index < len(pattern):
        character = pattern[index]
        if character == "\\":
            index += 1
        elif character == "[":
            index = _class_end(pattern, index)
        elif character == "(":
            varied.append(False)
        elif character == ")" and len(varied) > 1:
            inner = varied.pop()
            repeated = pattern[index + 1 : index + 2] in ("*", "+", "{")
            if inner and repeated:
                return True
            varied[-1] = varied[-1] or inner or repeated
        elif character in "*+{|":
            varied[-1] = True
        index += 1
    return False


def _class_end(pattern: str, start: int) -> int:
    """Return the index of the bracket that closes a character class."""
    index = start + 2 if pattern[start + 1 : start + 2] == "]" else start + 1
    while index < len(pattern) and pattern[index] != "]":
        index += 2 if pattern[index] == "\\" else 1
    return index
