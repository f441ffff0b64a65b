"""Small GGUFs, whole and in parts, and a store that holds some."""

from __future__ import annotations

from pathlib import Path

from glm_gguf.store.model import Model, StoredFile
from glm_gguf.store.store import Store


def stored(store: Store, content: bytes, folder: str, name: str, type_: str = "Q8_0") -> Model:
    """A model of the store, in the folder HUB/OWNER/NAME."""
    path = store.directory / folder / f"{name}.gguf"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    hub, owner, repository = Path(folder).parts
    model = Model(name, type_, (StoredFile(path, len(content)),), f"{hub}://{owner}/{repository}")
    store.add(model)
    return model
