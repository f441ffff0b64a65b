"""FILE of --imatrix: a path, or a hub's address, which is fetched first."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from glm_gguf.store.model_address import SCHEME

HELP: Final = "Importance matrix, GGUF or .dat; also hf://OWNER/NAME, with /FILE or without."


def imatrix_path(text: str) -> Path:
    """Return the file that a path or an address means; an address is fetched into the store. Raises GlmGgufError."""
    if not SCHEME.match(text):
        return Path(text)
    from glm_gguf.cli.pull_view import QuietView
    from glm_gguf.cli.user_store import user_store
    from glm_gguf.store.remote_imatrix import MatrixAddress, fetched_imatrix

    return fetched_imatrix(MatrixAddress.parse(text), user_store().directory, QuietView())
