"""Counters, times and gauges of the server, in Prometheus' text format."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final, Self, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from glm_gguf.answers.prepared_answer import AsyncEvents
from glm_gguf.chat.events import Event, Finish, PrefillProgress, Usage
from glm_gguf.research.research_events import AnswerEnded, Report, TurnStarted
from glm_gguf.research.sourced_writing import SourcedText
from glm_gguf.server.pool.model_pool import ModelPool
from glm_gguf.server.pool.pooled_model import StateName
from glm_gguf.server.research.researches import Unfinished

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
SECONDS: Final = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
GAUGES: Final = {
    "running": "Running answers",
    "waiting": "Requests in the queue",
    "embeddings": "Embedding and scoring jobs, running or in the queue",
    "cells_used": "Cells of the KV cache that hold a token, those of cached prefixes included",
    "n_cells": "Cells of the KV cache",
    "failed": "1 if the engine failed",
    "host_tokens": "Tokens of evicted prefixes in main memory",
}
"""Field of EngineStatus → its help text."""


class Metrics:
    """The metrics of one server; gauges read the states of its models and of their engines."""

    def __init__(self, pool: ModelPool) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        self._requests = Counter("glm_gguf_requests", "Requests", ["path", "status"], registry=registry)
        self._request_seconds = Histogram(
            "glm_gguf_request_seconds",
            "From a request to the end of its response",
            ["path"],
            registry=registry,
            buckets=SECONDS,
        )
        self._answers = Counter("glm_gguf_answers", "Finished answers by reason", ["reason"], registry=registry)
        self._tokens = Counter(
            "glm_gguf_tokens",
            "Tokens of prompts, of their cached parts, of answers, of drafts, and of their accepted parts",
            ["kind"],
            registry=registry,
        )
        self._first = Histogram(
            "glm_gguf_first_event_seconds",
            "From a request to the first event of its answer",
            registry=registry,
            buckets=SECONDS,
        )
        self._answer_seconds = Histogram(
            "glm_gguf_answer_seconds", "From a request to the end of its answer", registry=registry, buckets=SECONDS
        )
        self._researches = Counter(
            "glm_gguf_researches",
            "Researches by what ended them; search is a text from one search",
            ["ended_by"],
            registry=registry,
        )
        self._turns = Counter("glm_gguf_research_turns", "Answers of researches before reports", registry=registry)
        self._running = Gauge("glm_gguf_researches_running", "Researches under way", registry=registry)
        registry.register(_ModelGauges(pool))

    def text(self) -> bytes:
        """Write all metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def count_request(self, path: str, status: int, seconds: float) -> None:
        """Count a finished request; status 0 if the client disconnected first."""
        self._requests.labels(path, str(status)).inc()
        self._request_seconds.labels(path).observe(seconds)

    def count_first(self, seconds: float) -> None:
        """Count the first event of an answer."""
        self._first.observe(seconds)

    def count_answer(self, finish: Finish, seconds: float, *, with_prompt: bool) -> None:
        """Count a finished answer; of several answers to one prompt, only one counts the prompt."""
        self._answers.labels(finish.reason).inc()
        self._answer_seconds.observe(seconds)
        self._count_tokens(finish.usage, with_prompt=with_prompt)

    def read_researches(self, running: Callable[[], int]) -> None:
        """Take the number of researches under way from `running`."""
        self._running.set_function(running)

    def count_research(self, event: object) -> None:
        """Count a turn of a research, the tokens of an answer, or the end."""
        match event:
            case TurnStarted():
                self._turns.inc()
            case AnswerEnded(usage):
                self._count_tokens(usage)
            case Report(ended_by=ended_by):
                self._researches.labels(ended_by).inc()
            case SourcedText():
                self._researches.labels("search").inc()
            case Unfinished(why):
                self._researches.labels(why).inc()

    def _count_tokens(self, usage: Usage, *, with_prompt: bool = True) -> None:
        self._tokens.labels("answer").inc(usage.completion_tokens)
        self._tokens.labels("drafted").inc(usage.drafted_tokens)
        self._tokens.labels("accepted").inc(usage.accepted_tokens)
        if with_prompt:
            self._tokens.labels("prompt").inc(usage.prompt_tokens)
            self._tokens.labels("cached").inc(usage.cached_tokens)


class _ModelGauges(Collector):
    """Gauges of the models' states and of their engines; they name a model where requests choose among several."""

    def __init__(self, pool: ModelPool) -> None:
        self._pool = pool

    def collect(self) -> Iterator[Metric]:
        """Read the states."""
        pool = self._pool
        labels = [] if pool.catalogue.only else ["model"]
        models = [(model, [model.name] if labels else []) for model in pool.models()]
        states = GaugeMetricFamily("glm_gguf_state", "1 for the state of a model", labels=[*labels, "state"])
        loads = CounterMetricFamily("glm_gguf_loads", "How often a model was loaded", labels=labels)
        for model, names in models:
            loads.add_metric(names, model.loads)
            for state in get_args(StateName):
                states.add_metric([*names, state], float(model.state_name == state))
        yield from (states, loads)
        for field, meaning in GAUGES.items():
            gauge = GaugeMetricFamily(f"glm_gguf_{field}", meaning, labels=labels)
            for model, names in models:
                if model.loaded is not None:
                    gauge.add_metric(names, getattr(model.loaded.glm.status, field))
            yield gauge


class MeasuredEvents:
    """The events of an answer; counts its times and tokens on the way."""

    def __init__(self, events: AsyncEvents, metrics: Metrics, *, with_prompt: bool) -> None:
        self._events = events
        self._with_prompt = with_prompt
        self.prompt_tokens = events.prompt_tokens
        self._metrics = metrics
        self._start = time.monotonic()
        self._first = True

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        event = await self._events.__anext__()
        if self._first and not isinstance(event, PrefillProgress):
            self._first = False
            self._metrics.count_first(time.monotonic() - self._start)
        if isinstance(event, Finish):
            self._metrics.count_answer(event, time.monotonic() - self._start, with_prompt=self._with_prompt)
        return event

    def close(self) -> None:
        """Stop the answer; nothing more comes."""
        self._events.close()
