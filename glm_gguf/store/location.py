"""The directory of the store: GLM_GGUF_STORE, or a folder of the user's data directory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import platformdirs

VARIABLE: Final = "GLM_GGUF_STORE"


def store_directory() -> Path:
    """Return the directory, which need not exist yet."""
    named = os.environ.get(VARIABLE, "").strip()
    return Path(named).expanduser().absolute() if named else platformdirs.user_data_path("glm-gguf", False) / "models"
