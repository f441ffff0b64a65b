"""The store that the configuration names."""

from __future__ import annotations

from pathlib import Path

from glm_gguf.configuration.configuration import Configuration
from glm_gguf.store.store import Store


def user_store() -> Store:
    """Return the store of the variable, of the configuration file, or of the user's data directory."""
    directory = Configuration.load().value("store")
    return Store(directory if isinstance(directory, Path) else None)
