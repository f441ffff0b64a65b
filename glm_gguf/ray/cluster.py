"""A batch over a Ray cluster: Ray Data gives blocks of lines to actors, and starts lost actors again."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from glm_gguf.batches.answer_lines import FLUSH_SECONDS
from glm_gguf.batches.input_file import read_extent
from glm_gguf.batches.open_batch import OpenBatch
from glm_gguf.batches.result_line import LineResult, TokenCounts
from glm_gguf.errors import EngineError, RequestError, in_one_line
from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.llama.sampling_params import SamplingParams
from glm_gguf.ray.actor import REQUEST, TellingBatchActor, told_error

BLOCK_LINES: Final = 64
"""Lines of a block: what a lost actor answers again."""
CALLS: Final = 2
"""Blocks that an actor answers at once: its slots stay full from one to the next."""
NUMBER: Final = "number"
"""Name of the column that has the lines' numbers."""


@dataclass(frozen=True, slots=True)
class RayCluster:
    """Which cluster answers, with how many actors."""

    address: str
    """Of its head, HOST:PORT; `auto` for the one that runs here, `local` for one that is started."""
    actors: int | None = None
    """None is one a GPU, or one a node where there are no GPUs."""

    def __post_init__(self) -> None:
        if self.address.startswith("ray://"):
            fix = "run the command on a machine of the cluster, and give `auto` or HOST:PORT"
            raise RequestError("Ray Data does not run through a Ray client", field="ray", fix=fix)
        if self.actors is not None and self.actors < 1:
            raise RequestError(f"{self.actors} actors", field="ray_actors", fix="give at least 1")


@dataclass(frozen=True, slots=True)
class ActorModel:
    """What each actor loads; the file lies at the same path on every node."""

    path: Path
    options: EngineOptions
    sampling: SamplingParams


def answer_on_ray(
    batch: OpenBatch, cluster: RayCluster, model: ActorModel, watch: Callable[[LineResult], None]
) -> None:
    """Answer all lines that have no result, and add their results as they come; raises GlmGgufError."""
    with _connected(cluster) as ray:
        data, errors = ray.data, ray.exceptions
        n_gpus = int(ray.cluster_resources().get("GPU", 0))
        n_nodes = sum(node["Alive"] for node in ray.nodes())
        actors = cluster.actors or n_gpus or n_nodes
        pool = data.ActorPoolStrategy(
            size=actors,
            max_tasks_in_flight_per_actor=2 * CALLS,
            max_concurrent_calls_per_actor=CALLS,
            enable_true_multi_threading=True,
        )
        if not (blocks := _blocks(ray, batch)):
            return
        answered = data.from_arrow_refs(blocks).map_batches(
            TellingBatchActor,
            fn_constructor_args=(str(model.path), model.options, model.sampling),
            batch_size=None,
            compute=pool,
            num_gpus=1 if n_gpus else None,
        )
        try:
            _add_all(batch, answered.iter_batches(batch_size=None, batch_format="numpy"), watch)
        except errors.RayError as error:
            fix = "ray's logs have the details; run it again to go on"
            raise EngineError(f"an actor failed: {in_one_line(error)}", fix=fix) from error


def _add_all(batch: OpenBatch, blocks: Iterator[dict[str, Any]], watch: Callable[[LineResult], None]) -> None:
    """Add the results of blocks as they come; raises the error of an actor."""
    flushed = time.monotonic()
    for block in blocks:
        if (error := told_error(block)) is not None:
            raise error
        for result in _results(block):
            if batch.add(result):
                watch(result)
        if time.monotonic() - flushed > FLUSH_SECONDS:
            batch.flush()
            flushed = time.monotonic()
    batch.flush()


def _results(block: dict[str, Any]) -> Iterator[LineResult]:
    """Read the rows of a block."""
    names = (NUMBER, "result", "ok", "prompt_tokens", "cached_tokens", "completion_tokens")
    for number, line, ok, *tokens in zip(*(block[name].tolist() for name in names), strict=True):
        yield LineResult(number, f"{line}\n".encode(), ok, TokenCounts(*tokens))


def _blocks(ray: Any, batch: OpenBatch) -> list[Any]:
    """Put the lines into Ray's object store, which spills to disks; return references to blocks."""
    import pyarrow

    references, pending = [], batch.index.pending()
    while lines := list(islice(pending, BLOCK_LINES)):
        texts = [read_extent(batch.input, line.extent).decode() for line in lines]
        table = pyarrow.table({NUMBER: [line.number for line in lines], REQUEST: texts})
        references.append(ray.put(table))
    return references


@contextmanager
def _connected(cluster: RayCluster) -> Iterator[Any]:
    """Connect to a cluster; RequestError where Ray is not installed, or no cluster there."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        fix = "pip install 'glm-gguf[server,ray]'"
        raise RequestError(f"ray cannot be imported ({error})", field="ray", fix=fix) from error
    try:
        ray.init(cluster.address, logging_level="ERROR", log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        fix = "start one by ray start --head, or give `local`; one that wants a token needs RAY_AUTH_MODE=token"
        raise RequestError(f"no cluster answers: {in_one_line(error)}", field="ray", fix=fix) from error
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        yield ray
    finally:
        ray.shutdown()
