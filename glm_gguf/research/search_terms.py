"""Texts and queries as terms of SQLite's FTS5: words as they are, runs of CJK characters as overlapping bigrams.

Chinese has no spaces between words. FTS5's own tokenizer makes one term of a whole run, and its trigrams find no word
of two characters. Overlapping bigrams, as Lucene's CJKAnalyzer makes them, find both; docs/decisions/research.md has
the numbers. The last character of a run is a term too, so that a query of one character finds every place of it.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

CJK_RUN: Final = re.compile(
    "[\u3005\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]+"
)
"""Han, Hiragana, Katakana and Hangul."""
MOST_TERMS: Final = 64
"""Terms of a query; SQLite bounds the depth of an expression."""
_WORD: Final = re.compile(r"\w+")
_QUOTED: Final = re.compile(r'"([^"]+)"|“([^“”]+)”')
_COMMON: Final = """
    a an and are as at be been but by can did do does for from had has have how if in into is it its of on or that the
    their there these they this to was were what when where which who whom whose why will with would
    什么 哪个 哪些 怎么 如何 为什 么样 多少 是什 是否 是谁 在哪 一个 这个 那个 我们 他们
"""
COMMON: Final = frozenset(_COMMON.split())
"""Terms that nearly every text holds: a query leaves them out unless it has no other."""


def indexed_text(text: str) -> str:
    """Return a text as it is indexed: terms with spaces between them. It must stay the same for one index version."""
    return CJK_RUN.sub(lambda run: f" {' '.join(_indexed_bigrams(run[0]))} ", unicodedata.normalize("NFKC", text))


def query_expressions(query: str) -> list[str]:
    """Return the terms of a query and its quoted phrases, each as an expression of FTS5's."""
    normal = unicodedata.normalize("NFKC", query)
    phrases = [_phrase(_terms(first or second)) for first, second in _QUOTED.findall(normal)]
    terms = list(dict.fromkeys(_terms(normal)))
    telling = [term for term in terms if term not in COMMON] or terms
    return [part for part in dict.fromkeys([*phrases, *map(_term, telling[:MOST_TERMS])]) if part]


def words(query: str) -> list[str]:
    """Return the words of a query and its CJK bigrams, as they stand in texts, for the choice of a snippet."""
    return [term for term in _terms(unicodedata.normalize("NFKC", query)) if term not in COMMON]


def _terms(text: str) -> list[str]:
    """Return the terms of a query; a single CJK character stays one."""
    spaced = CJK_RUN.sub(lambda run: f" {' '.join(_bigrams(run[0]))} ", text)
    return [word.lower() for word in _WORD.findall(spaced)]


def _bigrams(run: str) -> list[str]:
    return [run[at : at + 2] for at in range(len(run) - 1)] or [run]


def _indexed_bigrams(run: str) -> list[str]:
    return [run[at : at + 2] for at in range(len(run))]


def _phrase(terms: list[str]) -> str:
    return f'"{" ".join(terms)}"' if terms else ""


def _term(term: str) -> str:
    """Write a term as FTS5's string; a single CJK character is the beginning of a bigram."""
    return f'"{term}"*' if len(term) == 1 and CJK_RUN.fullmatch(term) else f'"{term}"'
