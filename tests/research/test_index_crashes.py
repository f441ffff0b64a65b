"""A killed process leaves a whole index, and the next update goes on from it."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from glm_gguf.research.folder_index import TOGETHER, FolderIndex
from scripts.made_corpus import write_corpus

REPOSITORY = Path(__file__).resolve().parents[2]
UPDATE = """
import sys
from glm_gguf.research.folder_index import FolderIndex
FolderIndex(sys.argv[1], sys.argv[2]).update(lambda count: print(count, flush=True))
"""
PAGES = 6 * TOGETHER


@pytest.mark.skipif(sys.platform == "win32", reason="it has no SIGKILL")
@pytest.mark.parametrize("groups", [0, 1, 3])
def test_an_index_survives_a_kill_at_any_time(tmp_path: Path, groups: int) -> None:
    facts = write_corpus(tmp_path / "corpus", PAGES, 20)
    index = tmp_path / "index.sqlite"
    command = [sys.executable, "-c", UPDATE, str(tmp_path / "corpus"), str(index)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(groups):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    with sqlite3.connect(index) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    with FolderIndex(tmp_path / "corpus", index) as opened:
        update = opened.update()
        assert update.unchanged >= groups * TOGETHER
        assert update.added == PAGES - update.unchanged > 0
        assert all(fact.path in [hit.address for hit in opened.search(fact.question)] for fact in facts)
    with sqlite3.connect(index) as database:
        database.execute("INSERT INTO terms (terms) VALUES ('integrity-check')")
        (counts,) = database.execute("SELECT count(*), count(DISTINCT path) FROM documents")
        assert counts == (PAGES, PAGES)
