"""What a folder index costs and finds, on a made corpus of English and Chinese pages:

    scripts/bench_corpus.py [--pages 10000] [--facts 400] [--keep DIR]

It times the first index, an update without changes, and one after every hundredth page has changed, been added or
gone. It asks for planted facts, each of which one page tells, and counts how many of those pages are among the first
ten hits. Then it counts the same for planted Chinese words of two and three characters, alone and in a question: in the
index, and in a table of the same passages with FTS5's own trigram tokenizer.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from glm_gguf.research.folder_index import FolderIndex
from scripts.made_corpus import Fact, write_corpus

CHANGED = 100
"""Every so many pages one is changed, one is added, and one is removed."""
T = TypeVar("T")
Search = Callable[[str], Sequence[str]]
"""Query → paths of the first ten hits."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--pages", type=int, default=10_000)
    arguments.add_argument("--facts", type=int, default=400)
    arguments.add_argument("--keep", type=Path, help="directory for corpus and index, which then stay")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        place = given.keep or Path(scratch)
        folder = place / "corpus"
        facts = write_corpus(folder, given.pages, given.facts)
        with FolderIndex(folder, place / "index.sqlite") as index:
            measure_updates(index, facts)
            measure_searches(index, facts)
            compare_tokenizers(index, facts, place / "trigrams.sqlite")


def measure_updates(index: FolderIndex, facts: Sequence[Fact]) -> None:
    """Time the first index, and updates. The pages with a fact stay as they are."""
    seconds, update = timed(index.update)
    n_bytes = sum(path.stat().st_size for path in index.folder.rglob("*.*"))
    size = sum(path.stat().st_size for path in index.index.parent.glob(f"{index.index.name}*"))
    print(
        f"index: {update.added:,} pages, {n_bytes / 1e6:.1f} MB, in {seconds:.1f} s; the file has {size / 1e6:.1f} MB"
    )
    seconds, update = timed(index.update)
    print(f"update, nothing changed: {seconds:.2f} s ({update.unchanged:,} unchanged)")
    told = {fact.path for fact in facts}
    pages = [path for path in sorted(index.folder.rglob("*.md")) if str(path.relative_to(index.folder)) not in told]
    for changed, gone in zip(pages[::CHANGED], pages[1::CHANGED], strict=False):
        changed.write_text(changed.read_text("utf-8") + "\nMore.\n", "utf-8")
        changed.with_name(f"new-{changed.name}").write_text("# New\n\nNew text.\n", "utf-8")
        gone.unlink()
    seconds, update = timed(index.update)
    print(f"update: {update.changed} changed, {update.added} added, {update.removed} removed: {seconds:.2f} s")


def measure_searches(index: FolderIndex, facts: Sequence[Fact]) -> None:
    """Time the questions, and count the facts that are found."""
    seconds = []
    for name in ("en", "zh"):
        asked = [fact for fact in facts if fact.path.startswith(name)]
        found = 0
        for fact in asked:
            took, hits = timed(partial(index.search, fact.question, 10))
            seconds.append(took)
            found += any(hit.address == fact.path for hit in hits)
        print(f"recall at 10, {name}: {found} of {len(asked)}")
    cuts = statistics.quantiles(seconds, n=20)
    print(f"query: median {1000 * statistics.median(seconds):.1f} ms, p95 {1000 * cuts[-1]:.1f} ms")


def compare_tokenizers(index: FolderIndex, facts: Sequence[Fact], path: Path) -> None:
    """Count the planted Chinese words that bigrams and trigrams find."""
    chinese = [fact for fact in facts if fact.path.startswith("zh")]
    Random(1).shuffle(chinese)
    with sqlite3.connect(path) as table:
        table.execute("CREATE VIRTUAL TABLE terms USING fts5 (path UNINDEXED, title, body, tokenize='trigram')")
        table.execute("ATTACH DATABASE ? AS other", (str(index.index),))
        table.execute(
            "INSERT INTO terms SELECT documents.path, documents.title, passages.text FROM other.passages "
            "JOIN other.documents ON documents.id = passages.document ORDER BY passages.id"
        )
        sides: dict[str, Search] = {
            "bigrams": lambda query: [hit.address for hit in index.search(query, 10)],
            "trigrams": lambda query: trigram_hits(table, query),
        }
        for length in (2, 3):
            asked = [fact for fact in chinese if len(fact.word) == length]
            for form in ("word", "question"):
                counts = {
                    name: sum(fact.path in search(getattr(fact, form)) for fact in asked)
                    for name, search in sides.items()
                }
                print(
                    f"{length} characters, as a {form}: bigrams {counts['bigrams']}, trigrams {counts['trigrams']}"
                    f" of {len(asked)}"
                )


def trigram_hits(table: sqlite3.Connection, query: str) -> list[str]:
    """Search by any of the query's trigrams, ranked as the index ranks; a query of two characters has none."""
    grams = [query[at : at + 3] for at in range(len(query) - 2)]
    if not grams:
        return []
    expression = " OR ".join(f'"{gram}"' for gram in dict.fromkeys(grams))
    ranked = "SELECT path FROM terms WHERE terms MATCH ? ORDER BY bm25(terms, 0, 4.0, 1.0) LIMIT 80"
    return list(dict.fromkeys(path for (path,) in table.execute(ranked, (expression,))))[:10]


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Return the seconds that a work takes, and its result."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


if __name__ == "__main__":
    main()
