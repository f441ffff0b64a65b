"""The texts that a model is measured on: files, JSON lines of conversations, directories of both."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from glm_gguf.answers.prompt_renderer import PromptRenderer
from glm_gguf.chat.messages import conversation
from glm_gguf.chat.tools import declarations
from glm_gguf.errors import GlmGgufError, RequestError
from glm_gguf.llama.model_handle import ModelHandle
from glm_gguf.regular_file import read_text
from glm_gguf.whole_json import whole_json

LOGGER = logging.getLogger(__name__)
MOST_BYTES: Final = 2**28
CONVERSATIONS: Final = ".jsonl"
FORM: Final = 'write {"messages": […], "tools": […]} a line'


@dataclass(frozen=True, slots=True)
class PlainText:
    """A text without a template; control tokens spelled in it are plain text."""

    text: str


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A conversation in OpenAI's form, rendered by the model's chat template."""

    place: str
    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]]
    optional: bool = False
    """Left out where the template cannot render it: a base model has none, and some show no tools."""


Document = PlainText | Dialogue


@dataclass(frozen=True, slots=True)
class TextData:
    """Documents in order, and the names of where they came from."""

    names: tuple[str, ...]
    documents: tuple[Document, ...]

    def plus(self, other: TextData) -> TextData:
        """Append other documents."""
        return TextData(self.names + other.names, self.documents + other.documents)

    def token_ids(self, model: ModelHandle) -> list[int]:
        """Tokenise all documents; GlmGgufError for a conversation that the model's template cannot render.

        A text ends with a line feed where another document follows, and without one at the end of all, as in
        llama.cpp's programs.
        """
        renderer, ids = PromptRenderer(model), list[int]()
        for number, document in enumerate(self.documents, 1):
            match document:
                case PlainText(text=text):
                    end = "\n" if number < len(self.documents) else ""
                    ids += model.vocabulary.plain_ids(text.removesuffix("\n") + end)
                case Dialogue():
                    ids += _rendered(document, renderer)
        return ids


def read_data(paths: Sequence[Path]) -> TextData:
    """Read files and directories, whose files come in the order of their names; RequestError for what is no text."""
    data = TextData((), ())
    for path in paths:
        data = data.plus(TextData((str(path),), tuple(_documents(path))))
    return data


def read_dialogues(path: Path) -> Iterator[Dialogue]:
    """Read JSON lines: objects with `messages` and perhaps `tools`, or lists of messages; raises RequestError."""
    for number, line in enumerate(read_text(path, MOST_BYTES).split("\n"), 1):
        if line.strip():
            yield _dialogue(line, f"{path}, line {number}")


def _documents(path: Path) -> Iterator[Document]:
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.is_file() and not _hidden(file, path))
        if not found:
            raise RequestError("this directory holds no file", field="data", path=path, fix="give texts")
        for file in found:
            yield from _documents(file)
    elif path.suffix == CONVERSATIONS:
        yield from read_dialogues(path)
    else:
        yield PlainText(read_text(path, MOST_BYTES, fix="give UTF-8 texts, or JSON lines of conversations (.jsonl)"))


def _hidden(file: Path, directory: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(directory).parts)


def _dialogue(line: str, place: str) -> Dialogue:
    try:
        found = whole_json(line)
    except ValueError as error:
        raise RequestError(f"this is no JSON ({error})", where=place, fix=FORM) from None
    if isinstance(found, list):
        found = {"messages": found}
    if not isinstance(found, dict) or not isinstance(found.get("messages"), list) or not found["messages"]:
        raise RequestError("it holds no messages", where=place, fix=FORM)
    tools = found.get("tools") or []
    if not isinstance(tools, list):
        raise RequestError("`tools` is no list", where=place, fix=FORM)
    return Dialogue(place, found["messages"], tools)


def _rendered(dialogue: Dialogue, renderer: PromptRenderer) -> tuple[int, ...]:
    try:
        return renderer.beginning(conversation(dialogue.messages), declarations(dialogue.tools))
    except GlmGgufError as error:
        if dialogue.optional:
            LOGGER.info("left out: %s: %s", dialogue.place, error)
            return ()
        error.where = error.where or dialogue.place
        raise
