"""scripts/bench_corpus.py in short: planted facts are found, and bigrams find the words that trigrams do not."""

import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_planted_facts_are_among_the_first_ten_hits() -> None:
    command = [sys.executable, "scripts/bench_corpus.py", "--pages", "300", "--facts", "40"]
    output = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    assert "index: 300 pages" in output
    assert "update: 3 changed, 3 added, 3 removed" in output
    recall = {name: (int(found), int(asked)) for name, found, asked in re.findall(r"10, (\w+): (\d+) of (\d+)", output)}
    assert all(found == asked > 10 for found, asked in recall.values()), output
    assert recall.keys() == {"en", "zh"}
    (words,) = re.findall(r"2 characters, as a word: bigrams (\d+), trigrams (\d+) of (\d+)", output)
    assert words == (words[2], "0", words[2])
