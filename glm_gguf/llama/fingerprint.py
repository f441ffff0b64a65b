"""The fingerprint of a saved KV state: the model's bytes, and the settings that change keys and values."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Final

from glm_gguf.errors import EngineError
from glm_gguf.gguf_file.values import Metadata, texts
from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.llama.library import llama_cpp

HEAD: Final = 1 << 20
SAMPLES: Final = 64
SAMPLE_BYTES: Final = 4096


def fingerprint(files: tuple[Path, ...], options: EngineOptions) -> str:
    """Hash a model and its settings cheaply: the size, the first MB, and 64 samples of 4 kB of every file.

    Two files that differ only between the samples get the same hash; conversions of other weights never do.
    """
    digest = hashlib.blake2b(digest_size=16)
    for path in (*files, *(adapter.path for adapter in options.lora)):
        _add_file(digest, path)
    keys, values = options.cache_types
    settings = {
        "k": keys,
        "v": values,
        "flash_attention": options.flash_attention,
        "yarn": options.yarn,
        "lora": [adapter.scale for adapter in options.lora],
        "llama_cpp": llama_cpp.__version__,
    }
    digest.update(json.dumps(settings).encode())
    return digest.hexdigest()


def vocabulary_hash(metadata: Metadata) -> str:
    """Hash the tokens of a vocabulary, in the order of their ids."""
    digest = hashlib.blake2b(digest_size=16)
    for token in texts(metadata, "tokenizer.ggml.tokens") or ():
        digest.update(token.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()


def _add_file(digest: hashlib.blake2b, path: Path) -> None:
    """Hash the size and samples of one file."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest.update(size.to_bytes(8, "little") + file.read(HEAD))
            for index in range(SAMPLES):
                file.seek(size * index // SAMPLES)
                digest.update(file.read(SAMPLE_BYTES))
    except OSError as error:
        raise EngineError(f"cannot be read: {error.strerror}", path=path) from error
