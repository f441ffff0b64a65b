"""A made corpus: English and Chinese pages of invented words, some with a planted fact that a question asks for."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from itertools import accumulate
from pathlib import Path
from random import Random

SYLLABLES = [first + vowel for first in "bdfghklmnprstvw" for vowel in "aeiou"]
HAN = [chr(code) for code in range(0x4E00, 0x4E00 + 2000)]
LINKS = ["the", "of", "and", "a", "in", "is", "it", "was", "for", "on", "with", "as", "by", "at", "from"]
HAN_LINKS = list("的了是在和有与为对")
VOCABULARY = 4000


@dataclass(frozen=True)
class Fact:
    """A question, the invented word in it, and the path of the one page that answers it."""

    question: str
    word: str
    path: str


class Language:
    """Invented words, drawn as often as those of a language are: the n-th by 1/n (Zipf)."""

    def __init__(self, dice: Random, chinese: bool) -> None:
        self.chinese = chinese
        self._dice = dice
        self.words = list(dict.fromkeys(self._word() for _ in range(VOCABULARY)))
        self._weights = list(accumulate(1 / (rank + 2) for rank in range(len(self.words))))

    def name(self) -> str:
        """Return a word that no other draw gives, but by a small chance."""
        if self.chinese:
            return "".join(self._dice.choices(HAN, k=self._dice.choice((2, 3))))
        return "".join(self._dice.choices(SYLLABLES, k=4)).capitalize()

    def text(self, n_words: int) -> str:
        """Return sentences of so many words."""
        drawn = self._dice.choices(self.words, cum_weights=self._weights, k=n_words)
        links = self._dice.choices(HAN_LINKS if self.chinese else LINKS, k=n_words)
        pairs = [
            (word, link) if index % 3 else (word,) for index, (word, link) in enumerate(zip(drawn, links, strict=True))
        ]
        flat = [part for pair in pairs for part in pair]
        if self.chinese:
            return "".join(part + ("。" if index % 17 == 16 else "") for index, part in enumerate(flat)) + "。"
        return " ".join(part + ("." if index % 17 == 16 else "") for index, part in enumerate(flat)) + "."

    def _word(self) -> str:
        if self.chinese:
            return "".join(self._dice.choices(HAN[:900], k=self._dice.choice((1, 2, 2, 2, 3))))
        return "".join(self._dice.choices(SYLLABLES, k=self._dice.choice((2, 2, 3, 4))))


def write_corpus(folder: Path, n_pages: int, n_facts: int, seed: int = 414) -> list[Fact]:
    """Write pages, half of them Chinese, every twentieth as HTML; return the questions of those with a fact."""
    dice = Random(seed)
    languages = Language(dice, False), Language(dice, True)
    planted = set(dice.sample(range(n_pages), n_facts))
    facts = []
    for number in range(n_pages):
        language = languages[number % 2]
        paragraphs = [language.text(dice.randint(30, 110)) for _ in range(dice.randint(2, 6))]
        name = f"{'zh' if language.chinese else 'en'}/{number // 500:02}/{number:05}"
        path = f"{name}.html" if number % 20 < 2 else f"{name}.md"
        if number in planted:
            place, keeper = language.name(), language.name()
            told = f"{place}灯塔的看守人是{keeper}。" if language.chinese else f"The keeper of {place} is {keeper}."
            question = f"{place}的看守人是谁？" if language.chinese else f"Who is the keeper of {place}?"
            at = dice.randrange(len(paragraphs))
            paragraphs[at] = f"{paragraphs[at]}{'' if language.chinese else ' '}{told}"
            facts.append(Fact(question, place, path))
        write_page(folder / path, language.text(5).rstrip(".。"), paragraphs)
    return facts


def write_page(path: Path, title: str, paragraphs: list[str]) -> None:
    """Write a page as its ending says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".html":
        body = "".join(f"<p>{escape(paragraph)}</p>" for paragraph in paragraphs)
        page = f"<title>{title}</title><body><nav><a href='/'>Home</a></nav><article><h1>{title}</h1>{body}</article>"
        path.write_text(f"<!doctype html><html>{page}</body></html>", "utf-8")
    else:
        path.write_text(f"# {title}\n\n" + "\n\n".join(paragraphs) + "\n", "utf-8")
