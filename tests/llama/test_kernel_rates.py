"""The rates that a few layers tell are those of the whole model, as llama.cpp computes it in processor time."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from loading import context_of, opened

from glm_gguf.gguf_file.parts import GgufParts, open_all_parts
from glm_gguf.llama.batch import Batch
from glm_gguf.llama.context import Context
from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.llama.kernel_rates import DEPTH, ROWS, KernelRates, KernelTimer, Seconds
from glm_gguf.llama.load_plan import LoadPlan, Machine
from glm_gguf.llama.probe_file import Probe, attention_probe, layers_probe
from tests.gguf_file.builder import Model, glm4, glm4_9b

VOCABULARY = 20480
OPTIONS = EngineOptions(threads=1, n_ctx=4096, n_gpu_layers=0)


def middle_sized() -> Model:
    """Eight layers that take a millisecond each: the widths of a large model, divided by eight."""
    model = glm4(layers=8)
    sizes = {8: 512, 4: 128, 12: 1728, 24: 2 * 1728, 16: VOCABULARY}
    large = glm4_9b()
    model.tensors = {
        name: (tuple(sizes[extent] for extent in shape), 8 if len(shape) > 1 else 0)
        for name, (shape, _) in model.tensors.items()
    }
    numbers = {"embedding_length": 512, "feed_forward_length": 1728, "attention.head_count": 4, "block_count": 8}
    keys = large.keys | {f"glm4.{name}": (4, number) for name, number in numbers.items()}
    keys |= {"glm4.attention.head_count_kv": (4, 1)}
    tokens, types = keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.token_type"]
    for name, (_, value) in (("tokens", tokens), ("token_type", types)):
        kind, items = value  # type: ignore[misc]
        keys[f"tokenizer.ggml.{name}"] = (9, (kind, items[-VOCABULARY:]))  # type: ignore[has-type]
    for name in ("eos", "eot", "eom"):
        kind, number = keys[f"tokenizer.ggml.{name}_token_id"]
        keys[f"tokenizer.ggml.{name}_token_id"] = (kind, int(number) - 151552 + VOCABULARY)  # type: ignore[call-overload]
    return replace(model, keys=keys)


def seconds(context: Context, position: int, count: int, passes: int = 3) -> float:
    """Processor time of `count` tokens at a position, of the fastest pass."""
    found = []
    for _ in range(passes):
        context.truncate(0, position)
        batch = Batch(count)
        batch.add(0, position, [5] * count, outputs=1)
        start = time.process_time()
        assert context.decode(batch)
        found.append(time.process_time() - start)
    return min(found)


def test_a_few_layers_tell_the_rates_of_all(tmp_path: Path) -> None:
    path = middle_sized().write_hollow(tmp_path / "model.gguf")
    contents = open_all_parts(path)
    timer = KernelTimer(contents, LoadPlan.of(contents, OPTIONS, Machine.here(OPTIONS)), time.process_time)
    rates = timer.rates(1e15)
    with opened(path, OPTIONS) as model, context_of(model, OPTIONS) as context:
        seconds(context, 0, 1)
        found = seconds(context, 0, 1), seconds(context, 0, ROWS) / ROWS
        for position in range(0, DEPTH, 128):
            seconds(context, position, 128, passes=1)
        deep = seconds(context, DEPTH, 1)
    assert rates.start.answer == pytest.approx(found[0], rel=0.35)
    assert 1 / rates.prompt_rate(ROWS) == pytest.approx(found[1], rel=0.35)
    assert 1 / rates.answer_rate(DEPTH) == pytest.approx(deep, rel=0.35)


def test_memory_bounds_the_rate_of_answers(tmp_path: Path) -> None:
    contents = open_all_parts(middle_sized().write_hollow(tmp_path / "model.gguf"))
    plan = LoadPlan.of(contents, OPTIONS, Machine.here(OPTIONS))
    rates = KernelTimer(contents, plan).rates_with(Seconds(0, 0), 1e6)
    embedding = 512 * VOCABULARY * 34 // 32
    assert 1e6 * rates.start.answer == pytest.approx(contents.file_size - embedding, rel=0.02)
    assert isinstance(rates, KernelRates)


@pytest.mark.parametrize("make", [lambda c: layers_probe(c, (6, 20)), attention_probe], ids=["layers", "attention"])
def test_a_probe_is_a_small_file_that_the_reader_takes(make: object, tmp_path: Path) -> None:
    contents: GgufParts = open_all_parts(glm4_9b().write_hollow(tmp_path / "9b.gguf"))
    probe: Probe = make(contents)  # type: ignore[operator]
    probe.write(tmp_path / "probe.gguf")
    read = open_all_parts(tmp_path / "probe.gguf")
    assert [(t.name, t.shape, t.type) for t in read.tensors] == [(t.name, t.shape, t.type) for t in probe.tensors]
    assert (tmp_path / "probe.gguf").stat().st_blocks * 512 < 10**6
