"""Which files of a repository a conversion reads, and how large they may be; which are GGUFs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from glm_gguf.convert.source.checkpoint import INDEX
from glm_gguf.convert.source.source import MORE_TEMPLATES, TEMPLATE, TEMPLATE_SUFFIX

SHARD_SUFFIX = ".safetensors"

MOST_FOLDERS = 4
MOST_TEMPLATE_BYTES = 2**20
"""Of a template that is fetched; one on the disk may be longer."""
MOST_TEMPLATES = 16
"""Most templates with a name of their own that are fetched."""

SMALL_FILES: Mapping[str, int] = {
    "config.json": 2**20,
    "generation_config.json": 2**20,
    "tokenizer.json": 2**26,  # GLM-4's has 20 MB
    "tokenizer.model": 2**24,
    "tokenizer_config.json": 2**22,
    TEMPLATE: MOST_TEMPLATE_BYTES,
    "README.md": 2**22,
    INDEX: 2**24,
}
"""Files that are fetched whole before the shards, and the most bytes that each may have."""


def small_files(names: Collection[str]) -> Mapping[str, int]:
    """Return which of the wanted files are fetched before the shards, and the most bytes that each may have."""
    named = sorted(name for name in names if name.endswith(TEMPLATE_SUFFIX) and name != TEMPLATE)
    sizes = {**SMALL_FILES, **dict.fromkeys(named[:MOST_TEMPLATES], MOST_TEMPLATE_BYTES)}
    return {name: most for name, most in sizes.items() if name in names}


Wanted = Callable[[object], str | None]
"""Returns the name of a file that is wanted, and None for every other."""


def wanted_name(name: object) -> str | None:
    """Return `name` if it is a file that a conversion reads and a safe file name here, else None."""
    if not isinstance(name, str):
        return None
    if name in SMALL_FILES:
        return name
    folder, _, last = name.rpartition("/")
    if folder == MORE_TEMPLATES:
        return name if last.endswith(TEMPLATE_SUFFIX) and _is_plain(last) else None
    return name if name.endswith(SHARD_SUFFIX) and _is_plain(name) else None


def gguf_name(name: object) -> str | None:
    """Return `name` if it is a GGUF, in folders or not, whose path is safe here, else None."""
    if not isinstance(name, str) or not name.endswith(".gguf") or name.count("/") > MOST_FOLDERS:
        return None
    return name if all(_is_plain(part) for part in name.split("/")) else None


def matrix_name(name: object) -> str | None:
    """Return `name` if an importance matrix is called so, in folders or not, and its path is safe here, else None."""
    if not isinstance(name, str) or name.count("/") > MOST_FOLDERS or "imatrix" not in name.split("/")[-1].lower():
        return None
    return name if all(_is_plain(part) for part in name.split("/")) else None


def _is_plain(name: str) -> bool:
    """Tell whether a name, which may come from anyone, is a safe name of a file or folder on every system."""
    plain = 0 < len(name) <= 200 and name.isprintable() and not set(name) & set('/\\:*?"<>|')
    return plain and name[0] not in ". -" and name[-1] not in ". "  # a dash in front would be an option
