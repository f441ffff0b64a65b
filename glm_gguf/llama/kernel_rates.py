"""How fast llama.cpp's kernels compute a model here: they are timed on a few of its layers, without its weights."""

from __future__ import annotations

import ctypes
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from glm_gguf.errors import EngineError
from glm_gguf.gguf_file.contents import model_integer
from glm_gguf.gguf_file.parts import GgufParts
from glm_gguf.llama.batch import Batch
from glm_gguf.llama.context import context_parameters
from glm_gguf.llama.context_size import ContextSize
from glm_gguf.llama.cpu_kernels import EMBEDDING
from glm_gguf.llama.library import llama_cpp
from glm_gguf.llama.load_plan import LoadPlan
from glm_gguf.llama.model_handle import load_weights
from glm_gguf.llama.offload import Offload
from glm_gguf.llama.probe_file import OUTPUT, Probe, attention_probe, layers_probe, vocabulary_size
from glm_gguf.llama.timed_passes import Clock, Disturbed, fastest_seconds, typical_seconds

ROWS: Final = 64
"""Tokens of a timed prefill."""
DEPTH: Final = 1024
"""Tokens before those whose attention is timed."""


@dataclass(frozen=True, slots=True)
class Seconds:
    """Seconds of a token of an answer, and of one of a prompt."""

    answer: float
    prompt: float

    def __add__(self, other: Seconds) -> Seconds:
        return Seconds(self.answer + other.answer, self.prompt + other.prompt)

    def times(self, factor: float) -> Seconds:
        """Multiply both."""
        return Seconds(self.answer * factor, self.prompt * factor)

    def at_least_zero(self) -> Seconds:
        """Return zero for what the clock's noise made negative."""
        return Seconds(max(0.0, self.answer), max(0.0, self.prompt))


@dataclass(frozen=True, slots=True)
class KernelRates:
    """How long a token takes at the start of a context, and what each token before it adds."""

    start: Seconds
    depth: Seconds
    disturbed: bool = False
    """Whether other programs ran meanwhile, so that one thread's processor time stands for the time of all threads."""

    def answer_rate(self, depth: int) -> float:
        """Estimate the tokens a second of an answer after so many tokens."""
        return 1 / (self.start.answer + depth * self.depth.answer)

    def prompt_rate(self, length: int, depth: int = 0) -> float:
        """Estimate the tokens a second of a prompt of so many tokens, after others."""
        return 1 / (self.start.prompt + (depth + length / 2) * self.depth.prompt)


@dataclass(frozen=True, slots=True)
class KernelTimer:
    """A model whose layers llama.cpp computes as its plan says. Raises EngineError where llama.cpp fails, OSError where
    no temporary file can be written."""

    contents: GgufParts
    plan: LoadPlan
    clock: Clock = time.perf_counter
    """In seconds; with one thread, the processor's time leaves out what other programs compute."""

    def rates(self, bandwidth: float) -> KernelRates:
        """Time everything. `bandwidth` in bytes a second bounds the rate of answers on a CPU."""
        attention, disturbed = self.attention()
        return self.rates_with(attention, bandwidth, disturbed=disturbed)

    def rates_with(self, attention: Seconds, bandwidth: float, *, disturbed: bool = False) -> KernelRates:
        """Time the layers, where the attention is known from another file of the same shapes.

        Where other programs have `disturbed` that, they are expected to go on.
        """
        start, disturbed = self._measured(KernelTimer._start, disturbed=disturbed)
        least = self.plan.offload.cpu_share * (self._layer_bytes + self._output_bytes) / bandwidth
        return KernelRates(replace(start, answer=max(start.answer, least)), attention, disturbed)

    def attention(self) -> tuple[Seconds, bool]:
        """Time what each token before another adds, in all layers; returns whether other programs disturbed it."""
        return self._measured(KernelTimer._attention)

    def _measured(self, take: Callable[[KernelTimer], Seconds], *, disturbed: bool = False) -> tuple[Seconds, bool]:
        """Take a time of all threads; of one thread by the processor's clock where other programs disturb them."""
        if not disturbed:
            with suppress(Disturbed):
                return take(self), False
        options = replace(self.plan.options, threads=1, threads_batch=None)
        found = take(replace(self, plan=replace(self.plan, options=options), clock=time.process_time))
        return Seconds(found.answer / self.plan.threads, found.prompt / self.plan.threads_batch), True

    def _attention(self) -> Seconds:
        probe, found = attention_probe(self.contents), Seconds(0, 0)
        for on_gpu, share in _shares(self.plan):
            start, deep = (self._timed(probe, depth, on_gpu=on_gpu) for depth in (0, DEPTH))
            found += (deep + start.times(-1)).at_least_zero().times(share * self._n_layers / DEPTH)
        return found

    def _start(self) -> Seconds:
        """Time a probe of one layer and one of three, whose difference is that of two layers."""
        count = self._n_layers
        places = (count // 2,), (count // 6, count // 2, count * 5 // 6)
        small, large = (layers_probe(self.contents, layers) for layers in places)
        start = Seconds(0, 0)
        for on_gpu, share in _shares(self.plan):
            one, three = (self._timed(probe, 0, on_gpu=on_gpu) for probe in (small, large))
            byte = (three + one.times(-1)).at_least_zero().times(1 / (large.n_bytes - small.n_bytes))
            start += byte.times(share * self._layer_bytes)
            if on_gpu or not self.plan.offload.n_on_gpus:  # the output goes to a GPU first
                outside = one + byte.times(-small.n_bytes)  # negative for prompts: the last layer computes few rows
                answer = max(0.0, outside.answer) * vocabulary_size(self.contents) / small.rows
                start += Seconds(answer, outside.prompt)
        return start

    @property
    def _n_layers(self) -> int:
        return model_integer(self.contents.metadata, "block_count") or 1

    @property
    def _layer_bytes(self) -> int:
        return sum(tensor.n_bytes for tensor in self.contents.tensors if tensor.name.startswith("blk."))

    @property
    def _output_bytes(self) -> int:
        found = {tensor.name: tensor.n_bytes for tensor in self.contents.tensors}
        return found.get(OUTPUT, found.get(EMBEDDING, 0))

    def _timed(self, probe: Probe, depth: int, *, on_gpu: bool) -> Seconds:
        """Time one token with its logits after `depth` others, and ROWS tokens with the logits of the last."""
        with tempfile.TemporaryDirectory(prefix="glm-gguf-probe-") as directory:
            path = Path(directory) / "probe.gguf"
            probe.write(path)
            with _context(path, _plan_of(self.plan, probe, depth, on_gpu=on_gpu)) as (context, batch):
                for position in range(0, depth, batch.capacity):
                    _decode(context, batch, position, min(batch.capacity, depth - position))
                _decode(context, batch, depth, 1)
                answer, prompt = (self._seconds(context, batch, depth, count) for count in (1, ROWS))
                return Seconds(answer, prompt / ROWS)

    def _seconds(self, context: llama_cpp.llama_context_p, batch: Batch, position: int, count: int) -> float:
        """Return the seconds of decoding `count` tokens at a position; raises Disturbed, unless GPUs are part of it."""

        def run() -> None:
            llama_cpp.llama_memory_seq_rm(llama_cpp.llama_get_memory(context), 0, position, -1)
            _decode(context, batch, position, count)

        return (fastest_seconds if self.plan.offload.n_on_gpus else typical_seconds)(run, self.clock)


def _shares(plan: LoadPlan) -> list[tuple[bool, float]]:
    """Return the fractions of the layers that GPUs and the CPU compute, none of them empty."""
    on_cpu = plan.offload.cpu_share
    return [(on_gpu, share) for on_gpu, share in ((False, on_cpu), (True, 1 - on_cpu)) if share]


def _plan_of(plan: LoadPlan, probe: Probe, depth: int, *, on_gpu: bool) -> LoadPlan:
    """Return a plan for a probe, with a context for what is timed."""
    layers = int(probe.numbers["block_count"]) + 1
    n_cells = depth + 2 * ROWS
    return replace(
        plan,
        size=ContextSize(n_cells, n_cells, n_cells, n_cells, 1),
        options=replace(plan.options, yarn=None, lora=()),
        batches=replace(plan.batches, alone=max(ROWS, min(plan.batches.alone, n_cells))),
        offload=Offload(plan.offload.gpus, plan.offload.split, layers, layers)
        if on_gpu
        else Offload((), (), 0, layers),
    )


@contextmanager
def _context(path: Path, plan: LoadPlan) -> Iterator[tuple[llama_cpp.llama_context_p, Batch]]:
    model = load_weights(path, plan)
    try:
        parameters = context_parameters(plan)
        parameters.abort_callback = ctypes.cast(ctypes.c_void_p(), llama_cpp.ggml_abort_callback)
        context = llama_cpp.llama_init_from_model(model, parameters)
        if not context:
            raise EngineError("llama.cpp could not compute the layers that are timed", path=path)
        try:
            yield context, Batch(plan.batches.alone)
        finally:
            llama_cpp.llama_free(context)
    finally:
        llama_cpp.llama_model_free(model)


def _decode(context: llama_cpp.llama_context_p, batch: Batch, position: int, count: int) -> None:
    batch.clear()
    batch.add(0, position, [0] * count, outputs=1)
    if llama_cpp.llama_decode(context, batch.raw):
        raise EngineError("llama.cpp could not compute the layers that are timed")
    llama_cpp.llama_synchronize(context)
