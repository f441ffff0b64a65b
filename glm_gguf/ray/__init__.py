"""Batches over a Ray cluster. `BatchActor` is for pipelines of your own: `dataset.map_batches(BatchActor, ...)`."""

from glm_gguf.ray.actor import BatchActor

__all__ = ["BatchActor"]
