"""A model of the store as JSON values, for pull, list and show."""

from __future__ import annotations

from typing import Any

from glm_gguf.store.model import Model


def model_json(model: Model) -> dict[str, Any]:
    """Return a model; sizes in bytes."""
    return {
        "name": model.name,
        "path": str(model.path),
        "type": model.type,
        "bytes": model.n_bytes,
        "source": model.source,
        "commit": model.commit,
        "pulled": model.pulled,
        "program": model.program,
        "files": [{"path": str(file.path), "bytes": file.n_bytes, "digest": file.digest} for file in model.files],
        "missing": [str(path) for path in model.missing],
    }
