"""Every error that a user can cause, as one tree.

GlmGgufError
├── SourceError        a checkpoint directory or a file in it cannot be used
│   ├── ShardError       safetensors: header, offsets, index, missing or doubled tensors
│   ├── ConfigError      config.json: other architecture, missing or impossible values
│   ├── TransferError    a transfer broke off or brought wrong bytes; the next run resumes it
│   │   └── ChecksumError    the hash of a shard is not the one that the hub lists
│   ├── TokenizerError   tokenizer files: missing, unreadable, foreign pre-tokenizer
│   ├── WeightError      a weight is NaN or infinite, or leaves the range of the target type
│   └── HubError         a repository on a hub is missing, closed, or described wrongly
├── RequestError       an option or an argument is wrong, alone or with this input
│   ├── ImatrixError     the importance matrix is missing, malformed or of another width
│   └── ContextLengthError   a prompt is longer than the context
├── GgufError          a GGUF file is malformed, truncated, foreign or a known-bad conversion
├── StoreError         the store of models cannot be used: unreadable, of a newer version, a model's file is gone
├── CorpusError        a search or a page of a corpus fails: what a model looks things up in
├── ToolServerError    an MCP server cannot be started, ends, or answers wrongly
├── OutputError        the result cannot be written: exists, no space, no permission
├── TemplateError      a chat template is missing, malformed, or cannot be rendered
└── EngineError        llama.cpp refused to load, decode or allocate
    ├── EngineFailedError  an internal error, its `__cause__`, ended the engine: open the model again
    ├── WorkerLostError    a worker that holds layers of the model was lost: open it again
    ├── QueueFullError     the queue holds as many requests as it may
    ├── DeadlineError      the time of a request ended before its answer began
    └── UnmetFormatError   no attempt at an answer met its schema

Each says what is wrong, where, and what to do about it. A place is one of three:

- `path`: the file or directory at fault, by its address where it lies on a hub.
- `field`: the argument, option or place in a request that the caller gave, such as `messages[2].content`. The command
  line and each API of the server translate fields by a table.
- `where`: any other place: a tensor, a line or a byte of the file, a URL, a variable of the environment.

A server tells fields to its clients, and no other place: that may be a path of its own machine.
"""

from __future__ import annotations

import os
from typing import Final

MOST_WORDS: Final = 300
"""Characters of a foreign error's own text."""


class GlmGgufError(Exception):
    """Base of all errors a user can cause: `what` is wrong, the place (`path`, `field` or `where`), and the `fix`."""

    def __init__(
        self,
        what: str,
        *,
        path: str | os.PathLike[str] | None = None,
        field: str | None = None,
        where: str | None = None,
        fix: str | None = None,
    ) -> None:
        self.what = what
        self.path = None if path is None else os.fspath(path)
        self.field = field
        self.where = where
        self.fix = fix
        super().__init__(self.line(field, fix))

    def __reduce__(self) -> tuple[object, ...]:
        """Make errors picklable and copyable, for pools of processes."""
        return _rebuild, (type(self), self.what, self.path, self.field, self.where, self.fix), self.__dict__

    def __str__(self) -> str:
        """Return one line: `field path, where: what; fix`."""
        return self.line(self.field, self.fix)

    def line(self, field: str | None, fix: str | None) -> str:
        """Write the error in one line, with its field and its fix in the words of the interface that shows it."""
        at = " ".join(name for name in (field, self.path) if name)
        place = ", ".join(name for name in (at, self.where) if name)
        text = f"{place}: {self.what}" if place else self.what
        return f"{text}; {fix}" if fix else text


def _rebuild(
    kind: type[GlmGgufError], what: str, path: str | None, field: str | None, where: str | None, fix: str | None
) -> GlmGgufError:
    return kind(what, path=path, field=field, where=where, fix=fix)


class SourceError(GlmGgufError):
    """A checkpoint directory or a file in it cannot be used."""


class ShardError(SourceError):
    """A safetensors file or its index is malformed, truncated or contradicts another."""


class ConfigError(SourceError):
    """config.json describes another architecture, or values that cannot be."""


class TransferError(SourceError):
    """A transfer from a hub broke off for good or brought wrong bytes; the next run resumes it."""


class ChecksumError(TransferError):
    """The hash of a shard is not the one that the hub lists."""


class TokenizerError(SourceError):
    """The tokenizer files are missing, unreadable or of another family."""


class WeightError(SourceError):
    """A weight is NaN or infinite, or out of the range of its target type."""


class HubError(SourceError):
    """A repository on a hub is missing, closed, or described wrongly."""


class RequestError(GlmGgufError):
    """An option or an argument is wrong, alone or with this input."""


class ImatrixError(RequestError):
    """The importance matrix is missing, malformed or does not fit the tensors."""


class ContextLengthError(RequestError):
    """A prompt is longer than the context."""


class GgufError(GlmGgufError):
    """A GGUF file is malformed, truncated, foreign or a known-bad conversion."""


class StoreError(GlmGgufError):
    """The store of models cannot be used: it is unreadable, of a newer version, or lacks a model's file."""


class CorpusError(GlmGgufError):
    """A corpus cannot be searched, or a page of it cannot be opened."""


class ToolServerError(GlmGgufError):
    """An MCP server cannot be started, ends, or answers wrongly."""


class OutputError(GlmGgufError):
    """The result cannot be written: it exists, there is no space, or no permission."""


class TemplateError(GlmGgufError):
    """A chat template is missing, malformed, or cannot be rendered."""


class EngineError(GlmGgufError):
    """llama.cpp refused to load, allocate or decode."""


class EngineFailedError(EngineError):
    """An internal error, the `__cause__` of this one, ended the engine: open the model again."""


class WorkerLostError(EngineError):
    """A worker that holds layers of the model was lost: open the model again when the worker answers."""


class QueueFullError(EngineError):
    """The queue holds as many requests as it may: try again later."""


class DeadlineError(EngineError):
    """The time of a request ended before its answer began."""


class UnmetFormatError(EngineError):
    """No attempt at an answer met its schema."""


def as_engine_error(error: BaseException) -> GlmGgufError:
    """Return our own error as it is, and a foreign one as the cause of an EngineError."""
    if isinstance(error, GlmGgufError):
        return error
    made = EngineError(f"an unexpected error: {in_one_line(error)}", fix="its cause has the details")
    made.__cause__ = error
    return made


def in_one_line(error: BaseException) -> str:
    """Write a foreign error in one line: its class and its own text."""
    try:
        words = " ".join(str(error).split())[:MOST_WORDS]
    except BaseException:  # its __str__ fails
        words = ""
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
