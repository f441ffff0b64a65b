"""What the shell completes behind an option or an argument: models of the store, file types, GPUs.

A shell asks with every Tab, so nothing here imports numpy, and nothing loads llama.cpp where it was built for no GPU.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Final

import click
from click.shell_completion import CompletionItem

FILE_TYPES: Final = (
    *("F32", "F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0", "Q4_K_M", "Q4_K_S", "Q4_1", "Q4_0"),
    *("Q3_K_L", "Q3_K_M", "Q3_K_S", "Q2_K", "Q2_K_S", "IQ4_NL", "IQ4_XS", "IQ3_M", "IQ3_S", "IQ3_XS", "IQ3_XXS"),
    *("IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S", "TQ2_0", "TQ1_0"),
)
"""As convert/recipe/file_types.py has them, which imports numpy."""
CPU_LIBRARIES: Final = ("base", "blas", "cpu", "rpc")
"""Parts of ggml that know no GPU."""
SPECIAL: Final = frozenset(" \"'\\$`;&|<>()[]{}*?!#~^")
"""Characters that bash, zsh or fish do not take as they are."""
PATH_BEGINNINGS: Final = (".", "~", "/", os.sep)


def model_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a model in the store or a GGUF in this directory, in any case of letters, else any path."""
    if incomplete.startswith(PATH_BEGINNINGS) or "/" in incomplete:
        return [CompletionItem(incomplete, type="file")]
    here = (path.name for path in sorted(Path().glob("*.gguf")))
    begun = incomplete.casefold()
    names = [
        name for name in dict.fromkeys((*_stored(), *here)) if name.casefold().startswith(begun) and _is_word(name)
    ]
    return [CompletionItem(name) for name in names] or [CompletionItem(incomplete, type="file")]


def _is_word(name: str) -> bool:
    """Tell whether every shell takes a name as it is: shells do not quote what is completed, and would run $(…)."""
    return name.isprintable() and not name.startswith("-") and not set(name) & SPECIAL


def short_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the short name of a model that can be fetched."""
    from glm_gguf.store.known_models import KNOWN_MODELS

    known = KNOWN_MODELS.items()
    return [CompletionItem(name, help=model.about) for name, model in known if name.startswith(incomplete)]


def file_types(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a file type, in upper or lower case."""
    return [name for name in FILE_TYPES if name.startswith(incomplete.upper())]


def devices(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the names of the GPUs that llama.cpp finds."""
    if not _built_for_gpus():
        return []
    from glm_gguf.llama.devices import gpus

    return [CompletionItem(gpu.name, help=gpu.description) for gpu in gpus() if gpu.name.startswith(incomplete)]


def _stored() -> list[str]:
    """List the names of the store; none where it cannot be read, which its commands tell."""
    from glm_gguf.cli.user_store import user_store
    from glm_gguf.errors import GlmGgufError

    try:
        return [model.name for model in user_store().models()]
    except GlmGgufError:
        return []


def _built_for_gpus() -> bool:
    """Tell whether one of llama.cpp's libraries is a backend for GPUs, without loading any."""
    spec = importlib.util.find_spec("llama_cpp")
    libraries = Path((spec and spec.origin) or "").parent.glob("lib/*ggml-*")
    parts = {path.name.partition("ggml-")[2].partition(".")[0] for path in libraries}
    return any(not part.startswith(CPU_LIBRARIES) for part in parts)
