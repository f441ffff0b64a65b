"""Files that hold conversations, documents or keys are for their owner alone, whatever the umask says."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from batch_runs import chat_line, write_lines
from fastapi import UploadFile

from glm_gguf.appended_lines import AppendedLines
from glm_gguf.batches.input_file import InputRules
from glm_gguf.batches.open_batch import BatchPaths, open_batch
from glm_gguf.batches.result_line import unanswered_line
from glm_gguf.cli.transcript_file import write_transcript
from glm_gguf.configuration.configuration_file import write_setting
from glm_gguf.configuration.settings import SETTINGS
from glm_gguf.llama.session_file import Session, write_session
from glm_gguf.research.folder_index import FolderIndex
from glm_gguf.server.batches.settings import BatchSettings
from glm_gguf.server.batches.store import BatchStore, new_file
from glm_gguf.server.batches.upload import Upload

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes of files")


@pytest.fixture(autouse=True)
def _open_to_all() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def a_batch(directory: Path, seen: Callable[[], None]) -> None:
    """Answer a batch, and look half-way."""
    source = write_lines(directory.parent / "in.jsonl", [chat_line("one", "Hello")])
    with open_batch(BatchPaths(source, directory / "out.jsonl"), InputRules()) as batch:
        batch.begin({})
        batch.add(unanswered_line(1, "one", "code", "message"))
        seen()
        batch.finish("input")


def a_server(directory: Path, seen: Callable[[], None]) -> None:
    """Keep a file and write its object, in a directory that was there."""
    store = BatchStore(BatchSettings(directory))
    store.add_file(file := new_file("in.jsonl", "batch", 3, None))
    upload = Upload(UploadFile(io.BytesIO(b"{}\n")), "in.jsonl", 3, None)
    asyncio.run(upload.write(store.path(file.id)))
    seen()
    store.close()


def an_index(directory: Path, seen: Callable[[], None]) -> None:
    """Index a folder."""
    folder = directory.parent / "notes"
    folder.mkdir()
    (folder / "a.md").write_text("# Light\n\nAnsel keeps it.\n")
    with closing(FolderIndex(folder, directory / "index.sqlite")) as index:
        index.update()
        seen()


def lines(directory: Path, seen: Callable[[], None]) -> None:
    """Append lines, as researches and evaluations do."""
    AppendedLines(directory / "lines.jsonl", 0).close()


def a_configuration(directory: Path, seen: Callable[[], None]) -> None:
    """Set a key."""
    write_setting(directory / "config.toml", SETTINGS["api-key"], "secret")


def a_chat(directory: Path, seen: Callable[[], None]) -> None:
    """Save a conversation and a session."""
    write_transcript(directory / "chat.json", [{"role": "user", "content": "Hello"}])
    write_session(directory / "chat.session", Session("", "", ()))


WRITERS: dict[str, Any] = {
    "batch": a_batch,
    "chat": a_chat,
    "configuration": a_configuration,
    "index of a folder": an_index,
    "lines": lines,
    "server's batches": a_server,
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS.keys())
def test_nobody_else_may_read(write: Callable[[Path, Callable[[], None]], None], tmp_path: Path) -> None:
    directory = tmp_path / "there"
    directory.mkdir()
    found: dict[str, str] = {}

    def look() -> None:
        for path in directory.rglob("*"):
            if path.is_file():
                found[path.name] = oct(path.stat().st_mode & 0o777)

    write(directory, look)
    look()
    assert found
    assert set(found.values()) == {"0o600"}, json.dumps(found)
