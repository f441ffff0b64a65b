"""Which files of a repository a conversion reads, and how large they may be."""

from __future__ import annotations

from collections.abc import Mapping

from glm_gguf.convert.source.checkpoint import INDEX

SHARD_SUFFIX = ".safetensors"

SMALL_FILES: Mapping[str, int] = {
    "config.json": 2**20,
    "generation_config.json": 2**20,
    "tokenizer.json": 2**26,  # GLM-4's has 20 MB
    "tokenizer.model": 2**24,
    "tokenizer_config.json": 2**22,
    "chat_template.jinja": 2**20,
    "README.md": 2**22,
    INDEX: 2**24,
}
"""Files that are fetched whole before the shards, and the most bytes that each may have."""


def wanted_name(name: object) -> str | None:
    """Return `name` if it is a wanted file at the top of the repository and a safe file name here, else None."""
    if not isinstance(name, str):
        return None
    if name in SMALL_FILES:
        return name
    plain = len(name) <= 200 and name.isprintable() and not set(name) & set('/\\:*?"<>|') and name[0] != "."
    return name if name.endswith(SHARD_SUFFIX) and plain else None
