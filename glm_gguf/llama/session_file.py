"""Saved prefixes on disk: tokens with their keys and values, bound to the model they came from.

Layout, little-endian: 8 bytes magic, u32 version, u32 length of a JSON header, 16 bytes hash of all that follows, the
header, then for every prefix its tokens (i32) and its state as llama.cpp gives it. The header names the model
and settings of the states, and the lengths.

The hash detects damage, not malice: an attacker who writes the file also writes its hash, and llama.cpp does not check
the states. Trust a session as you trust a program.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Final

import numpy as np

from glm_gguf.errors import EngineError, OutputError
from glm_gguf.llama.free_memory import available_memory
from glm_gguf.regular_file import open_regular
from glm_gguf.whole_file import write_whole

MAGIC: Final = b"GLMKVSES"
VERSION: Final = 3
HASH_BYTES: Final = 16
FRONT: Final = struct.Struct(f"<8sII{HASH_BYTES}s")
MOST_HEADER: Final = 1 << 24
TOKEN_BYTES: Final = 4
TOO_LARGE: Final = "the session is larger than the memory that is free"


@dataclass(frozen=True, slots=True)
class SavedPrefix:
    """Tokens and the state of their sequence: keys and values as llama.cpp wrote them."""

    tokens: tuple[int, ...]
    state: bytes


@dataclass(frozen=True, slots=True)
class Session:
    """Saved prefixes, and the hashes that they are bound to."""

    fingerprint: str
    """Of the model and the settings that change a state."""
    vocabulary: str
    """Of the vocabulary alone: where only this one fits, the tokens mean the same and can be computed again."""
    prefixes: tuple[SavedPrefix, ...]


def write_session(path: Path, session: Session) -> None:
    """Write a session under a temporary name, and rename it; OutputError where either fails.

    It never replaces a file that is no session: that may be the model.
    """
    if os.path.isfile(path) and _is_foreign(path):
        raise OutputError("a file that is no session has this name", path=path, fix="give another name, or remove it")
    prefixes = session.prefixes
    blocks = [part for prefix in prefixes for part in (np.array(prefix.tokens, "<i4").tobytes(), prefix.state)]
    header = {
        "fingerprint": session.fingerprint,
        "vocabulary": session.vocabulary,
        "prefixes": [[len(prefix.tokens), len(prefix.state)] for prefix in prefixes],
    }
    following = [json.dumps(header).encode(), *blocks]
    front = FRONT.pack(MAGIC, VERSION, len(following[0]), _hash(following))
    write_whole(path, [front, *following])


def read_session(path: Path) -> Session:
    """Read a session of any model; EngineError says why one is refused.

    It refuses a file that is no session, or larger than the free memory, before it reads the contents.
    """
    try:
        with open_regular(path, EngineError) as file:
            return _session(path, file)
    except OSError as error:
        raise EngineError(f"the session cannot be read: {error.strerror}", path=path) from error
    except MemoryError as error:
        raise EngineError(TOO_LARGE, path=path) from error


def _is_foreign(path: Path) -> bool:
    """Tell whether a file is neither empty nor a session."""
    with open_regular(path, OutputError) as file:
        return file.read(len(MAGIC)) not in (b"", MAGIC)


def _session(path: Path, file: BufferedReader) -> Session:
    """Read an open file."""
    front = file.read(FRONT.size)
    if len(front) < FRONT.size or not front.startswith(MAGIC):
        raise EngineError("this is no session file", path=path)
    _, version, length, hashed = FRONT.unpack(front)
    if version != VERSION:
        raise EngineError(f"the session has version {version}, not {VERSION}", path=path, fix="save it again")
    rest = os.fstat(file.fileno()).st_size - FRONT.size
    if rest > available_memory():
        raise EngineError(TOO_LARGE, path=path)
    text = file.read(min(length, MOST_HEADER))
    body = file.read(max(rest - length, 0))
    header = _header(text) if _hash([text, body]) == hashed else None
    prefixes = None if header is None else _prefixes(header[2], body)
    if header is None or prefixes is None:
        raise EngineError("the session file is damaged", path=path, fix="save it again")
    return Session(header[0], header[1], prefixes)


def _header(text: bytes) -> tuple[str, str, list[tuple[int, int]]] | None:
    """Read fingerprint, vocabulary and the lengths of prefixes; None where one is missing."""
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        return None
    match header:
        case {"fingerprint": str(fingerprint), "vocabulary": str(vocabulary), "prefixes": [*prefixes]}:
            lengths = [(item[0], item[1]) for item in prefixes if _is_lengths(item)]
            return (fingerprint, vocabulary, lengths) if len(lengths) == len(prefixes) else None
    return None


def _is_lengths(item: object) -> bool:
    """Tell whether these are a count of tokens and one of bytes."""
    return (
        isinstance(item, list) and len(item) == 2 and all(type(number) is int and 0 < number < 2**63 for number in item)
    )


def _prefixes(lengths: Sequence[tuple[int, int]], body: bytes) -> tuple[SavedPrefix, ...] | None:
    """Cut the rest of a file into prefixes; None where its length is not their sum."""
    if sum(TOKEN_BYTES * count + size for count, size in lengths) != len(body):
        return None
    prefixes, offset = [], 0
    for count, size in lengths:
        tokens = np.frombuffer(body, "<i4", count, offset)
        start = offset + TOKEN_BYTES * count
        offset = start + size
        prefixes.append(SavedPrefix(tuple(tokens.tolist()), body[start:offset]))
    return tuple(prefixes)


def _hash(blocks: Sequence[bytes]) -> bytes:
    digest = hashlib.blake2b(digest_size=HASH_BYTES)
    for block in blocks:
        digest.update(block)
    return digest.digest()
