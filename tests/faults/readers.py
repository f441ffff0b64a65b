"""Targets that read files, and the greetings of workers.

Hashes and lengths are put right first, so that mutations reach what lies behind them.
"""

from __future__ import annotations

import hashlib
import json
import socket
import struct
import tempfile
import zlib
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np

from glm_gguf.batches.input_file import InputRules
from glm_gguf.batches.open_batch import BatchPaths, open_batch
from glm_gguf.convert.adapter.peft_adapter import PeftAdapter
from glm_gguf.convert.recipe.imatrix import Imatrix
from glm_gguf.convert.source.local_shards import LocalShards
from glm_gguf.convert.source.safetensors_file import read_header
from glm_gguf.convert.source.shards import Shard
from glm_gguf.convert.writing.journal import Entries
from glm_gguf.errors import GlmGgufError
from glm_gguf.gguf_file.adapter import require_adapter
from glm_gguf.gguf_file.parts import open_all_parts
from glm_gguf.gguf_file.report import Report
from glm_gguf.llama.model_file import ModelFile
from glm_gguf.llama.session_file import FRONT, HASH_BYTES, MAGIC, VERSION, read_session
from glm_gguf.quality.imatrix_state import kept_state, state_path
from glm_gguf.workers.greeting import MOST_MEMORY, NoGreeting, read_greeting, read_welcome

WEIGHTS = bytes(256)
MARK = b"\0\0\0\0BODY"
"""Stands between two parts of an input."""


@cache
def scratch() -> Path:
    """Return this process's directory for inputs, in memory where there is such a place."""
    memory = Path("/dev/shm")
    held = tempfile.TemporaryDirectory(prefix="glm-gguf-fuzz-", dir=memory if memory.is_dir() else None)
    _HELD.append(held)
    return Path(held.name)


_HELD: list[tempfile.TemporaryDirectory[str]] = []


def written(name: str, data: bytes) -> Path:
    """Return a file of the scratch directory with these bytes."""
    path = scratch() / name
    path.write_bytes(data)
    return path


def shard(header: bytes) -> bytes:
    """Return a safetensors file of a header and zeros."""
    return struct.pack("<Q", len(header)) + header + WEIGHTS


def safetensors(data: bytes) -> None:
    """A shard: one byte decides whether the rest is the file, or only its header."""
    raw = data[1:] if data[:1] == b"r" else shard(data[1:])
    path = written("model.safetensors", raw)
    shards = LocalShards(path.parent)
    found = read_header(shards, Shard(path.name, str(path)), len(raw))
    for tensor in found.values():
        assert 8 <= tensor.offset <= tensor.offset + tensor.n_bytes <= len(raw)


def gguf(data: bytes) -> None:
    """A GGUF as a model, for `inspect`, and as an adapter."""
    path = written("model.gguf", data)
    for use in (ModelFile.open, _inspected, require_adapter):
        with suppress(GlmGgufError):
            use(path)


def _inspected(path: Path) -> None:
    report = Report.of(open_all_parts(path))
    json.dumps(report.as_json(), default=str)


def imatrix(data: bytes) -> None:
    """An importance matrix in either form."""
    found = Imatrix.read(written("imatrix.dat", data))
    for values in found.entries.values():
        assert np.isfinite(values).all()


def measurement(data: bytes) -> None:
    """What an interrupted measurement has kept beside its output."""
    out = scratch() / "kept.imatrix"
    state_path(out).write_bytes(data)
    found = kept_state(out, "b")
    assert found.binding == "b"


def session(data: bytes) -> None:
    """A session whose hash is right: its header and what follows."""
    header, _, body = data.partition(MARK)
    hashed = hashlib.blake2b(header + body, digest_size=HASH_BYTES).digest()
    raw = FRONT.pack(MAGIC, VERSION, len(header), hashed) + header + body
    found = read_session(written("saved.session", raw))
    assert sum(4 * len(one.tokens) + len(one.state) for one in found.prefixes) == len(body)


def journal(data: bytes) -> None:
    """A journal whose lines have the right checksums, but for lines that begin with an exclamation mark."""
    lines = [line[1:] if line.startswith(b"!") else b"%08x %s" % (zlib.crc32(line), line) for line in data.split(b"\n")]
    path = written("model.gguf.journal", b"".join(line + b"\n" for line in lines))
    found = Entries.read(path)
    assert found is not None
    assert 0 <= found.n_bytes <= path.stat().st_size


def adapter(data: bytes) -> None:
    """The two files of a PEFT adapter: its config, and the header of its weights."""
    config, _, header = data.partition(MARK)
    written("adapter_config.json", config)
    written("adapter_model.safetensors", shard(header))
    found = PeftAdapter.open(scratch())
    json.dumps({name: pair.scale for name, pair in found.pairs.items()})


def batch(data: bytes) -> None:
    """A batch's input, and the results that an earlier run left."""
    lines, _, results = data.partition(MARK)
    paths = BatchPaths(written("in.jsonl", lines), scratch() / "out.jsonl")
    paths.beside("part").write_bytes(results)
    with open_batch(paths, InputRules()) as opened:
        for error in opened.checked.errors:
            json.dumps(error.as_json())
        if opened.checked.errors:
            return
        paths.beside("journal").write_text(json.dumps({"input": opened.checked.sha256}))
        found = opened.begin({})
        assert found + sum(1 for _ in opened.index.pending()) == opened.checked.n_lines


def greeting(data: bytes) -> None:
    """The first line of a worker's client, and of a worker."""
    for read in (read_greeting, read_welcome):
        here, there = socket.socketpair()
        with here, there:
            here.settimeout(10)
            there.settimeout(10)
            with suppress(OSError):  # it is longer than the line that is read
                there.sendall(data[:50_000])
            there.shutdown(socket.SHUT_WR)
            with suppress(NoGreeting):
                found = read(here)
                for device in getattr(found, "devices", ()):
                    assert 0 <= device.memory <= MOST_MEMORY
