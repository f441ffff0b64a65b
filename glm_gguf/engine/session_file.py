"""Saved prefixes on disk: tokens with their keys and values, bound to the model they came from.

Layout, little-endian: 8 bytes magic, u32 version, u32 length of a JSON header, the header, then for every prefix its
tokens (i32) and its state as llama.cpp gives it. The header names what the states belong to, the lengths, and a hash
of all that follows it, so that llama.cpp never reads a state it did not write.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from glm_gguf.errors import EngineError
from glm_gguf.whole_file import write_whole

MAGIC: Final = b"GLMKVSES"
VERSION: Final = 2
FRONT: Final = struct.Struct("<8sII")
MOST_HEADER: Final = 1 << 24
DAMAGED: Final = "the session file is damaged"


@dataclass(frozen=True, slots=True)
class SavedPrefix:
    """Tokens and the state of the sequence that holds them."""

    tokens: tuple[int, ...]
    state: bytes


@dataclass(frozen=True, slots=True)
class Session:
    """Saved prefixes, and the hashes they are bound to."""

    fingerprint: str
    """Of the model and the settings that change a state."""
    vocabulary: str
    """Of the vocabulary alone: with it the tokens still mean the same where the states are of no use."""
    prefixes: tuple[SavedPrefix, ...]


def write_session(path: Path, session: Session) -> None:
    """Write a session under a temporary name, and rename it; OutputError where that cannot be done."""
    prefixes = session.prefixes
    blocks = [part for prefix in prefixes for part in (np.array(prefix.tokens, "<i4").tobytes(), prefix.state)]
    header = {
        "fingerprint": session.fingerprint,
        "vocabulary": session.vocabulary,
        "prefixes": [[len(prefix.tokens), len(prefix.state)] for prefix in prefixes],
        "hash": _hash(blocks),
    }
    text = json.dumps(header).encode()
    write_whole(path, [FRONT.pack(MAGIC, VERSION, len(text)), text, *blocks])


def read_session(path: Path) -> Session:
    """Read a session, whomever it belongs to; EngineError says why one is refused."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EngineError(f"the session cannot be read: {error.strerror}", where=path) from error
    header, body = _header(path, data)
    if header.get("hash") != _hash([body]):
        raise EngineError(DAMAGED, where=path, fix="save it again")
    return Session(str(header.get("fingerprint")), str(header.get("vocabulary")), tuple(_prefixes(path, header, body)))


def _header(path: Path, data: bytes) -> tuple[dict[str, Any], bytes]:
    """Split a file into its header and the rest."""
    if len(data) < FRONT.size or not data.startswith(MAGIC):
        raise EngineError("this is no session file", where=path)
    _, version, length = FRONT.unpack_from(data)
    if version != VERSION:
        raise EngineError(f"the session has version {version}, not {VERSION}", where=path, fix="save it again")
    if length > min(MOST_HEADER, len(data) - FRONT.size):
        raise EngineError(DAMAGED, where=path, fix="save it again")
    try:
        header = json.loads(data[FRONT.size : FRONT.size + length])
    except ValueError as error:
        raise EngineError(DAMAGED, where=path, fix="save it again") from error
    if not isinstance(header, dict):
        raise EngineError(DAMAGED, where=path, fix="save it again")
    return header, data[FRONT.size + length :]


def _prefixes(path: Path, header: dict[str, Any], body: bytes) -> list[SavedPrefix]:
    """Cut the rest of a file into prefixes; every length is checked against what is there."""
    prefixes = []
    offset = 0
    for item in header.get("prefixes", ()):
        match item:
            case [int(count), int(size)] if count > 0 and size > 0 and offset + 4 * count + size <= len(body):
                tokens = np.frombuffer(body, "<i4", count, offset)
                start = offset + 4 * count
                offset = start + size
                prefixes.append(SavedPrefix(tuple(tokens.tolist()), body[start:offset]))
            case _:
                raise EngineError(DAMAGED, where=path, fix="save it again")
    return prefixes


def _hash(blocks: Sequence[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()
