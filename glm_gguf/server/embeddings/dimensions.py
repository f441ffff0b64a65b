"""How many dimensions of a vector a client may ask for: all of them."""

from __future__ import annotations

from collections.abc import Sequence

from glm_gguf.engine.embedding import Vector
from glm_gguf.server.problem import Problem, Refused


def refuse_to_cut(vectors: Sequence[Vector], dimensions: int | None) -> None:
    """Raise Refused where another length is asked for: the models are not trained to be read in part."""
    if vectors and dimensions not in (None, len(vectors[0])):
        what = f"dimensions: the model's vectors have {len(vectors[0])}, and cannot be cut."
        raise Refused(Problem(400, what, param="dimensions"))
