"""The directory of the store: GLM_GGUF_STORE, or a folder of the user's data directory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from glm_gguf.errors import RequestError, StoreError
from glm_gguf.home_directory import expanded, user_path

VARIABLE: Final = "GLM_GGUF_STORE"


def store_directory() -> Path:
    """Return the directory, which need not exist yet; StoreError without a home."""
    named = os.environ.get(VARIABLE, "").strip()
    if named:
        try:
            return expanded(named).absolute()
        except RequestError as error:
            raise StoreError(error.what, where=VARIABLE, fix=error.fix) from None
    found = user_path("data")
    if found is None:
        raise StoreError("there is no home directory, and so no store of models", fix=f"name one by {VARIABLE}")
    return found / "models"
