"""A GGUF computes what transformers computes: logits of random checkpoints against goldens.

scripts/record_logits.py recorded them; the tests make the checkpoints again from shape, seed and scale.
Differences are fractions of the largest logit of a prompt.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import Shape, write_checkpoint
from logits import GGML_TYPE_F16, GGML_TYPE_F32, context_of, logits_of

from glm_gguf.convert import ConvertOptions, TypeChoices, convert

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "logits"
CASES = (
    *("plain", "bias", "tied", "wide-heads", "eight-kv-heads", "yarn", "yarn-attention", "linear", "resaved"),
    *("glm", "glm-1m", "glm-edge", "glm-yarn"),
)
F32_BOUND = 1e-4  # 2e-5 was seen; goldens have no two best logits nearer than 2e-4
F16_CACHE_BOUND = 2e-3  # 1.4e-3 was seen
BF16_BOUND = 2e-2  # 1.4e-2 was seen: ggml rounds activations to bf16 (8 bits) where weights are


@dataclass
class Golden:
    """transformers' logits and their inputs; the arrays concatenate the prompts."""

    arrays: dict[str, np.ndarray]

    @classmethod
    def read(cls, name: str) -> Golden:
        with np.load(GOLDEN / f"{name}.npz") as file:
            return cls(dict(file))

    @cached_property
    def about(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(str(self.arrays["about"]))
        return found

    @property
    def shape(self) -> Shape:
        return Shape(**self.about["shape"])

    def write(self, directory: Path, shape: Shape | None = None) -> Path:
        """Make the checkpoint again, or one of the same weights under another config."""
        source = write_checkpoint(directory, shape or self.shape, seed=self.about["seed"], scale=self.about["scale"])
        found = hashlib.sha256((source / "model.safetensors").read_bytes()).hexdigest()
        assert found == self.about["sha256"], "numpy or checkpoints.py make other weights now: record the logits again"
        return source

    def prompts(self) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """The ids of each prompt, and its recorded values."""
        ends = np.cumsum(self.arrays["lengths"], dtype=int)
        kept = 0
        for number, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
            recorded = {name: self.arrays[name][start:end] for name in ("best", "best_logits", "gaps")}
            recorded["largest"] = self.arrays["largest"][number]
            count = min(end - start, 12)
            recorded["positions"] = self.arrays["positions"][kept : kept + count]
            recorded["logits"] = self.arrays["logits"][kept : kept + count]
            kept += count
            yield self.arrays["ids"][start:end], recorded


@dataclass(frozen=True)
class Deviation:
    """The distance of a GGUF's logits from a golden."""

    largest: float
    """The largest difference, over the positions recorded in full and every position's best logit."""
    flips: tuple[float, ...]
    """The gap between the golden's best two tokens, at positions where another token is best."""


def deviation(golden: Golden, gguf: Path, cache: int = GGML_TYPE_F32, step: int = 768) -> Deviation:
    differences, flips = [0.0], list[float]()
    with context_of(gguf, cache) as context:
        for ids, recorded in golden.prompts():
            logits = logits_of(context, ids, step)
            kept, best = recorded["positions"], recorded["best"]
            at_best = logits[np.arange(len(ids)), best]
            for ours, theirs in ((logits[kept], recorded["logits"]), (at_best, recorded["best_logits"])):
                differences.append(float(np.abs(ours - theirs).max() / recorded["largest"]))
            flips += list(recorded["gaps"][logits.argmax(1) != best] / recorded["largest"])
    return Deviation(max(differences), tuple(flips))


def converted(source: Path, type_: str, yarn: float | None = None) -> Path:
    options = ConvertOptions(types=TypeChoices(type=type_), yarn=yarn, threads=1, force=True)
    (gguf,) = convert(source, source.parent / f"{type_}-{source.name}.gguf", options)
    return gguf


@pytest.fixture(scope="module")
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Golden, Path]:
    """A golden and its checkpoint, made again."""
    golden = Golden.read(request.param)
    return golden, golden.write(tmp_path_factory.mktemp(request.param) / "model")


@pytest.mark.parametrize("step", [768, 1, 7], ids=["one-batch", "token-by-token", "seven-a-batch"])
@pytest.mark.parametrize("case", CASES, indirect=True)
def test_an_f32_gguf_computes_what_transformers_computes(case: tuple[Golden, Path], step: int) -> None:
    golden, source = case
    found = deviation(golden, converted(source, "F32"), step=step)
    assert found.largest < F32_BOUND
    assert not found.flips


@pytest.mark.parametrize("case", CASES, indirect=True)
def test_a_bf16_gguf_differs_by_the_rounding_of_activations(case: tuple[Golden, Path]) -> None:
    golden, source = case
    found = deviation(golden, converted(source, "BF16"))
    assert found.largest < BF16_BOUND
    assert max(found.flips, default=0) < BF16_BOUND
    assert len(found.flips) < 0.03 * len(golden.arrays["ids"])


@pytest.mark.parametrize("case", ["plain"], indirect=True)
def test_the_default_kv_cache_rounds_keys_and_values_to_f16(case: tuple[Golden, Path]) -> None:
    golden, source = case
    found = deviation(golden, converted(source, "F32"), GGML_TYPE_F16)
    assert F32_BOUND < found.largest < F16_CACHE_BOUND


def test_yarn_is_the_same_in_transformers_5s_form(tmp_path: Path) -> None:
    golden = Golden.read("yarn")
    nested = {**golden.shape.extra["rope_scaling"], "rope_theta": 10000.0, "partial_rotary_factor": 0.5}
    flat = dict.fromkeys(("rope_scaling", "rope_theta", "partial_rotary_factor"))
    extra = {**golden.shape.extra, **flat, "rope_parameters": nested}
    source = golden.write(tmp_path / "model", replace(golden.shape, extra=extra))
    assert deviation(golden, converted(source, "F32")).largest < F32_BOUND


def test_yarn_asked_for_is_the_same_as_yarn_configured(tmp_path: Path) -> None:
    golden = Golden.read("yarn")
    original = golden.shape.extra["rope_scaling"]["original_max_position_embeddings"]
    source = golden.write(tmp_path / "model", replace(golden.shape, extra={"max_position_embeddings": original}))
    assert deviation(golden, converted(source, "F32", yarn=4.0)).largest < F32_BOUND


def test_without_yarn_the_logits_are_others(tmp_path: Path) -> None:
    golden = Golden.read("yarn")
    source = golden.write(tmp_path / "model", replace(golden.shape, extra={"max_position_embeddings": 640}))
    assert deviation(golden, converted(source, "F32")).largest > 0.1
