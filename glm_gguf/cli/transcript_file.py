"""Conversations as JSON files, in OpenAI's form."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from glm_gguf.chat.messages import template_messages
from glm_gguf.errors import OutputError, RequestError
from glm_gguf.regular_file import read_text
from glm_gguf.whole_file import write_whole
from glm_gguf.whole_json import whole_json

MOST_BYTES = 2**28


def read_transcript(path: Path) -> list[dict[str, Any]]:
    """Read a conversation; RequestError where the file has none."""
    text = read_text(path, MOST_BYTES)
    try:
        messages = whole_json(text)
    except ValueError as error:
        raise RequestError(f"the file holds no JSON: {error}", path=path) from error
    if not isinstance(messages, list):
        raise RequestError("the file holds no list of messages", path=path)
    template_messages(messages)  # names what is wrong
    return messages


def write_transcript(path: Path, messages: Sequence[dict[str, Any]]) -> None:
    """Write a conversation; OutputError where that fails."""
    write_whole(path, [json.dumps(messages, ensure_ascii=False, indent=2).encode(), b"\n"])


def require_writable(path: Path, option: str) -> None:
    """Raise OutputError where a file cannot be written: before the conversation that it would lose."""
    directory = path.parent
    if not directory.is_dir():
        raise OutputError(f"there is no directory {directory}", field=option, path=path, fix="create it first")
    if os.path.isdir(path):
        raise OutputError("this is a directory", field=option, path=path, fix="name a file in it")
    if not os.access(directory, os.W_OK):
        raise OutputError(f"{directory} is not writable", field=option, path=path, fix="name another place")
