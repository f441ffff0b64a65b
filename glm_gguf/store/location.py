"""The directory of the store: GLM_GGUF_STORE, or a folder of the user's data directory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

VARIABLE: Final = "GLM_GGUF_STORE"


def store_directory() -> Path:
    """Return the directory, which need not exist yet."""
    named = os.environ.get(VARIABLE, "").strip()
    if named:
        return Path(named).expanduser().absolute()
    import platformdirs  # a tenth of a second on a cold start

    return platformdirs.user_data_path("glm-gguf", appauthor=False) / "models"
