"""`--adapter DIR[=SCALE]`: an adapter to merge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from glm_gguf.errors import RequestError

if TYPE_CHECKING:
    from glm_gguf.convert.options import MergedAdapter


def parse_merged(text: str) -> MergedAdapter:
    """Read `my-lora` or `my-lora=0.5`; a directory may have "=" in its name. Raises RequestError."""
    from glm_gguf.convert.options import MergedAdapter

    if not text:
        raise RequestError("the name is empty", field="adapters", fix="write it like my-lora or my-lora=0.5")
    path, equals, scale = text.rpartition("=")
    if not equals or Path(text).exists():
        return MergedAdapter(Path(text))
    try:
        number = float(scale)
    except ValueError:
        what = f"{scale!r} is no number"
        raise RequestError(what, field="adapters", fix="write it like my-lora or my-lora=0.5") from None
    return MergedAdapter(Path(path), number)
