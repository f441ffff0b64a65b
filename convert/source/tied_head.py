"""Compare a stored output head with the embedding, if config.json ties the two.

A merge of a model that trained them apart may leave `tie_word_embeddings: true`; without its head such a model writes
nonsense. Nothing is read if config.json does not tie them or no head is stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np
import numpy.typing as npt

from glm_gguf.convert.source.family_names import FamilyNames
from glm_gguf.convert.source.safetensors_file import STORAGE, StoredTensor
from glm_gguf.convert.source.shards import ShardSource

PIECE = 2**22  # weights compared at once


def head_differs(names: FamilyNames, tensors: Mapping[str, StoredTensor], shards: ShardSource) -> bool:
    """Whether the stored head differs from the embedding; stops at the first difference. Raises ShardError."""
    head, embedding = tensors.get(names.head), tensors.get(names.embedding)
    if head is None or embedding is None:
        return False
    if head.shape != embedding.shape or head.dtype not in STORAGE or embedding.dtype not in STORAGE:
        return True
    return not all(
        np.array_equal(_values(head, shards, start), _values(embedding, shards, start))
        for start in range(0, prod(head.shape), PIECE)
    )


def _values(tensor: StoredTensor, shards: ShardSource, start: int) -> npt.NDArray[np.float32]:
    """PIECE weights from `start` on, as float32."""
    dtype = np.dtype(STORAGE[tensor.dtype])
    n_bytes = min(PIECE * dtype.itemsize, tensor.n_bytes - start * dtype.itemsize)
    stored = np.frombuffer(shards.read_range(tensor.shard.name, tensor.offset + start * dtype.itemsize, n_bytes), dtype)
    if tensor.dtype == "BF16":  # the upper half of a float32
        return (stored.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return stored.astype(np.float32)
